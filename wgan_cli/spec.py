"""The base of every config class."""

import inspect
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
                raise ValueError(f"must be at most {shown}" if number > 0 else f"must be at least -{shown}")
        return value


def _describe_kind(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Adds what editors show at `kind`: the first paragraph about the class."""
    about = inspect.getdoc(model)  # an inherited one too
    if about and "kind" in schema.get("properties", {}):
        schema["properties"]["kind"]["description"] = " ".join(about.partition("\n\n")[0].split())


class Choice(Spec):
    """A spec of which there are several kinds; `kind` selects one. As the first field, it comes first in YAML."""

    model_config = ConfigDict(json_schema_extra=_describe_kind)

    kind: str
