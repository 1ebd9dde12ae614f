"""Conditions: what a sample is asked to be, a class or given values.

A condition is encoded as a vector (N, width). Generators take it beside the latent. Critics take it by projection for
classes (Miyato and Koyama, 2018), and by concatenation for values.
"""

from typing import Annotated

from pydantic import Field

from wgan_cli.conditions.base import ConditionalDataset, Conditions, generator_inputs
from wgan_cli.conditions.columns import Columns, GivenColumns
from wgan_cli.conditions.labels import Classes, Labels

__all__ = [
    "Classes",
    "Columns",
    "Condition",
    "ConditionalDataset",
    "Conditions",
    "GivenColumns",
    "Labels",
    "generator_inputs",
]

Condition = Annotated[Labels | Columns, Field(discriminator="kind")]
