"""The base of every config class."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """One frozen class that carries the YAML fields *and* the behaviour they configure.

    Strict: an unknown key, a value of another type, NaN and infinity are refused. An int is accepted where
    a float is asked for, and becomes one (Adam refuses betas of mixed int and float).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Choice(Spec):
    """A spec that is one of several: `kind` tells which, and stands first wherever the spec is written out."""

    kind: str
