"""The base of every config class."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """One frozen class that carries the YAML fields *and* the behaviour they configure.

    Strict: unknown keys, values of another type, NaN and infinity are refused. An int is accepted where a float
    is expected, and converted (Adam refuses betas of mixed int and float).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Choice(Spec):
    """A spec that is one of several: `kind` selects it. Declared first, so that `kind` is written first in YAML."""

    kind: str
