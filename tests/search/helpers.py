"""A search whose trials take a second or two."""

from pathlib import Path

from wgan_cli.search.space import Space, read_space

TINY = """
config: normal_gp
objective: truth/w1
space:
  optimizer.generator.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  training: {n_critic: {low: 1, high: 3}, iterations: 40, batch_size: 16, average: 0.9}
  generator: {kind: mlp, hidden: {choices: [[8], [4, 4]]}}
  critic.hidden: [8]
  output: {log_every: 5, sample_every: 40, checkpoint_every: 5}
"""


def tiny(folder: Path, *changes: tuple[str, str]) -> Path:
    """The file of the tiny space, with some text replaced."""
    text = TINY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "space.yaml").write_text(text)
    return folder / "space.yaml"


def tiny_space(folder: Path, *changes: tuple[str, str]) -> Space:
    return read_space(tiny(folder, *changes))
