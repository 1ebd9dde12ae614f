"""A model card: a README with a YAML head in the form of the Hugging Face Hub, which says what the run's files say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from wgan_cli import __version__
from wgan_cli.export.facts import LAWS, facts, public
from wgan_cli.figure_names import FLOOR, HIGH, LOW, is_figure
from wgan_cli.paths import expanded
from wgan_cli.runs.loaded import LoadedRun
from wgan_cli.runs.places import holds_run
from wgan_cli.runs.readers import read_evaluation, read_metrics

COMPARED = ("truth/", "frechet/", "fidelity/", "modes/", "condition/", "memorisation/", "critic/w1_low")
"""How the names of figures begin that say how good samples are."""


@dataclass(frozen=True)
class Source:
    """Where a card's figures come from."""

    run: Path | None
    """The run's folder, if the checkpoint lies in one."""
    averaged: bool
    """Whether the exported weights are those that samples use: figures are of no others."""

    @staticmethod
    def of(target: str, *, averaged: bool) -> "Source":
        """The source of the run folder or checkpoint file `target`."""
        path = expanded(target).absolute()
        folder = next((each for each in (path, path.parent.parent) if holds_run(each)), None)
        return Source(folder, averaged)

    def figures(self, step: int) -> tuple[str, Mapping[str, float]]:
        """Where figures of iteration `step` are from, in words, and the figures: those of `wgan evaluate`, else those
        that training logged; none if neither is of this iteration."""
        if self.run is None or not self.averaged:
            return "", {}
        evaluated = read_evaluation(self.run)
        if evaluated.get("step") == step:
            return f"`wgan evaluate`, with {evaluated['samples']:,} samples", evaluated
        lines = read_metrics(self.run) if (self.run / "metrics.jsonl").exists() else []
        logged = next((line for line in lines if line["step"] == step), {})
        return ("the log of training", logged) if any(map(_is_compared, logged)) else ("", {})


def card(loaded: LoadedRun, weights: str, source: Source, file: str, picture: str) -> str:
    """The text of the card of the exported `file`, beside which lies a `picture` of samples."""
    found = facts(loaded, weights)
    parts = [
        f"---\n{_head(loaded, Path(file).suffix)}---",
        f"# {Path(file).stem}",
        f"![Generated samples]({quote(picture)})",
        _summary(loaded, found),
        f"## Use\n\n{_use(found, file)}",
        f"## Data\n\n{_data(loaded)}",
        f"## Figures\n\n{_figures(*source.figures(loaded.step))}",
        f"## Config\n\n```yaml\n{public(loaded.config).to_yaml()}```",
    ]
    return "\n\n".join(parts) + "\n"


def _head(loaded: LoadedRun, ending: str) -> str:
    config = loaded.config
    head: dict[str, Any] = {"library_name": "onnx" if ending == ".onnx" else "wgan"}
    if config.data.is_image and config.condition is None:
        head["pipeline_tag"] = "unconditional-image-generation"
    head["tags"] = ["gan", "wasserstein-gan", "wgan", config.data.kind]
    licence = "# license: choose one, such as mit; see https://huggingface.co/docs/hub/repositories-licenses\n"
    return licence + yaml.safe_dump(head, sort_keys=False)


def _summary(loaded: LoadedRun, found: Mapping[str, Any]) -> str:
    config, samples = loaded.config, found["samples"]
    weights = "the average of the weights" if found["weights"] == "averaged" else "the weights"
    asked = f", asked for by {config.condition.kind}" if config.condition else ""
    shape = " x ".join(map(str, samples["shape"]))
    return (
        f"A generator of `{config.data.kind}` samples{asked}: {weights} after iteration {loaded.step:,} of "
        f"{config.training.iterations:,}, exported by wgan {__version__}. Samples are {shape}, {samples['type']}, in "
        "the units of the data."
    )


def _use(found: Mapping[str, Any], file: str) -> str:
    if file.endswith(".safetensors"):
        return f"```sh\npip install 'wgan[export]'\nwgan sample --ckpt {file} --num 16 --out samples.npz\n```"
    dim = found["latents"]["shape"][1]
    uniform = found["latents"]["law"] == LAWS["uniform"]
    latents = f"np.random.uniform(-1, 1, (16, {dim}))" if uniform else f"np.random.randn(16, {dim})"
    lines = ["import numpy as np", f"latents = {latents}.astype(np.float32)  # {found['latents']['law']}"]
    names = ["latents"]
    if "condition" in found:
        lines.append(_condition(found["condition"]))
        names.append("condition")
    if file.endswith(".onnx"):
        inputs = ", ".join(f'"{name}": {name}' for name in names)
        lines[1:1] = ["import onnxruntime", "", f"session = onnxruntime.InferenceSession({file!r})"]
        lines.append(f"(samples,) = session.run(None, {{{inputs}}})")
    else:
        inputs = ", ".join(f"torch.from_numpy({name})" for name in names)
        lines[1:1] = ["import torch", "", f"program = torch.export.load({file!r}).module()"]
        lines.append(f"samples = program({inputs})")
    return "```python\n" + "\n".join(lines) + "\n```"


def _condition(encoding: Mapping[str, Any]) -> str:
    """The line that asks for 16 samples of one condition: the first class, or the middle of each given column."""
    if encoding["kind"] == "labels":
        name = encoding["names"][0]
        return f"condition = np.eye({encoding['width']}, dtype=np.float32)[[0] * 16]  # class 0, {name}"
    values = [(low + high) / 2 for low, high in encoding["ranges"]]
    shift, scale = encoding["shift"], [each or 1.0 for each in encoding["scale"]]
    asked = ", ".join(f"{name}={value:g}" for name, value in zip(encoding["names"], values, strict=True))
    return f"condition = (np.array([{values}] * 16) - {shift}) / {scale}  # {asked}"


def _data(loaded: LoadedRun) -> str:
    data, state = public(loaded.config).data, loaded.data_state
    lines = [f"- kind: `{data.kind}`, samples of shape {' x '.join(map(str, data.sample_shape))}"]
    count = state.get("samples") or data.sample_count
    lines += [f"- samples to train on: {count:,}"] if count else []
    names = data.class_names
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    lines += [f"- classes: {shown}"] if names else []
    if data.value_names:
        lines.append(f"- columns: {', '.join(data.value_names)}")
    return "\n".join(lines)


def _is_compared(name: str) -> bool:
    return name.startswith(COMPARED) and is_figure(name)


def _figures(origin: str, figures: Mapping[str, float]) -> str:
    names = [name for name in figures if _is_compared(name)]
    if not names:
        return "None are known of this iteration: `wgan evaluate` measures the run."
    rows = ["| figure | value | 95 % interval | floor |", "|---|---|---|---|", *(_row(name, figures) for name in names)]
    notes = [f"From {origin}. The floor is the same figure between two sets of real samples: a perfect generator's."]
    if "critic/w1_low" in names:
        notes.append(
            "`critic/w1_low` is a bound: with about 95 % confidence, W1 from the data to the samples is larger."
        )
    if "truth/w1_high" in names:
        notes.append("`truth/w1_high` is a bound: that W1 is smaller, with about 95 % confidence.")
    return "\n".join(rows) + "\n\n" + " ".join(notes)


def _row(name: str, figures: Mapping[str, float]) -> str:
    low, high, floor = (figures.get(name + end) for end in (LOW, HIGH, FLOOR))
    interval = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
    return f"| `{name}` | {figures[name]:.4g} | {interval} | {'' if floor is None else f'{floor:.4g}'} |"
