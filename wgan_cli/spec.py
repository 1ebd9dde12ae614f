"""The base of every config class."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

LARGEST_INT, LARGEST_FLOAT = 2**32 - 1, 1e38
"""Beyond these, torch's own arithmetic of sizes and of float32 overflows."""


class Spec(BaseModel):
    """One frozen class with the YAML fields *and* the behaviour that they configure.

    It is strict: unknown keys, values of another type, NaN, infinity and numbers of absurd size are refused. An
    int is accepted for a float and converted (Adam refuses betas of mixed int and float).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @field_validator("*")
    @classmethod
    def _check_size(cls, value: Any) -> Any:
        for number in value if isinstance(value, tuple) else (value,):
            largest = {int: LARGEST_INT, float: LARGEST_FLOAT}.get(type(number))
            if largest is not None and abs(number) > largest:
                shown = f"{largest:,}" if type(number) is int else f"{largest:g}"
                raise ValueError(f"must be between -{shown} and {shown}")
        return value


class Choice(Spec):
    """A spec of which there are several kinds; `kind` selects one. As the first field, it comes first in YAML."""

    kind: str
