"""The base of every config class."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """One frozen class with the YAML fields *and* the behaviour that they configure.

    It is strict: unknown keys, values of another type, NaN and infinity are refused. An int is accepted for a float
    and converted (Adam refuses betas of mixed int and float).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Choice(Spec):
    """A spec of which there are several kinds; `kind` selects one. As the first field, it comes first in YAML."""

    kind: str
