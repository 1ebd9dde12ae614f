"""`RunConfig`: one YAML file, read strictly, and every fault of it told with file, line, key and remedy."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from wgan_cli.data import Data
from wgan_cli.documents import Document, Key, dotted
from wgan_cli.errors import BadInputError
from wgan_cli.lipschitz import Lipschitz
from wgan_cli.models import Critic, Generator, Latent
from wgan_cli.objectives import Objective, Wasserstein
from wgan_cli.optimizers import Optimizers
from wgan_cli.shipped import find_config
from wgan_cli.spec import Choice, Spec

Loaded = TypeVar("Loaded", bound=BaseModel)


class TrainingSpec(Spec):
    iterations: int = Field(ge=1)
    """Generator updates, each with its `n_critic` critic updates."""
    batch_size: int = Field(default=64, ge=1)
    n_critic: int = Field(default=5, ge=1)
    average: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged generator weights that samples use; null: no average is kept."""
    deterministic: bool = False
    """On a GPU, only kernels that give the same bits each time, so that a run that goes on repeats them; slower."""
    engine: Literal["auto", "eager", "compile", "graph"] = "auto"
    """How an iteration is executed; all compute the same. `auto` is graph on CUDA, else eager."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` is for the networks alone: weights, penalty, figures and optimizers stay in float32."""
    matmul: Literal["highest", "high", "medium"] = "highest"
    """How exact float32 products have to be: `high` allows TF32 on a GPU, `medium` bfloat16 where that is faster."""


class OutputSpec(Spec):
    log_every: int = Field(default=100, ge=1)
    sample_every: int = Field(default=1000, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=2, ge=1)
    """How many of the newest checkpoints are kept."""


class RunConfig(Spec):
    """A run of `wgan train`, whole."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """32 bits: torch's generator on the CPU keeps no more of a seed."""
    data: Data
    latent: Latent
    generator: Generator
    critic: Critic
    lipschitz: Lipschitz
    objective: Objective = Wasserstein()
    optimizer: Optimizers
    training: TrainingSpec
    output: OutputSpec = OutputSpec()

    def to_dict(self) -> dict[str, Any]:
        """Plain containers only: what YAML, JSON and a checkpoint can hold."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def differences(self, other: "RunConfig") -> list[str]:
        """The dotted keys in which two configs differ, but for those that may change when a run is resumed."""
        mine, others = _flat(self.to_dict()), _flat(other.to_dict())
        return sorted(
            key
            for key in mine.keys() | others.keys()
            if mine.get(key) != others.get(key)
            and key not in ("training.iterations", "data.root")  # a dataset may move; its checksums tell it
            and not key.startswith("output.")
        )

    def warnings(self) -> Iterator[str]:
        """What is allowed, but rarely meant."""
        if self.objective.needs_slope_bound and not self.lipschitz.bounds_slope:
            yield (
                f"lipschitz.kind: {self.lipschitz.kind} leaves the critic's slope unbounded, so the gap says "
                "nothing of a distance; use clip or gp"
            )


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A tree of mappings as one mapping of dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return flat


def load_config(name: str, overrides: Sequence[str] = (), ranks: int = 1) -> RunConfig:
    """The config in the file `name`, else the shipped config of that name, with `KEY=VALUE` overrides applied.

    `ranks` is how many processes are to share each batch.
    Raises `BadInputError` with one line a fault, each naming the file, the line and the key.
    """
    document = _read(find_config(name))
    for override in overrides:
        document.override(override)
    return _checked(document, ranks)


def load_spec(path: Path, model: type[Loaded]) -> Loaded:
    """Another spec than a run's, read from a YAML file as strictly."""
    return _validated(_read(path), model)


def _read(path: Path) -> Document:
    try:
        return Document(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: can't be read as a text file ({error})") from error


def config_from_dict(tree: Mapping[str, Any], source: str) -> RunConfig:
    """The config that `RunConfig.to_dict` gave, out of a checkpoint named `source`."""
    return _checked(Document(source, json.dumps(tree)))


def _checked(document: Document, ranks: int = 1) -> RunConfig:
    config = _validated(document, RunConfig)
    _raise(document, _pair_faults(config))
    if ranks > 1:
        _raise(document, _rank_faults(config, ranks))
    return config


def _validated(document: Document, model: type[Loaded]) -> Loaded:
    try:
        # Through JSON, as strict validation of Python objects would refuse a list for a tuple.
        return model.model_validate_json(json.dumps(document.tree))
    except ValidationError as error:
        _raise(document, ((_key(fault, document), _explain(fault, document, model)) for fault in error.errors()))
        raise


def _raise(document: Document, faults: Iterable[tuple[Key, str]]) -> None:
    told = dict.fromkeys(document.located(key, message) for key, message in faults)
    if told:
        raise BadInputError("\n".join(told))


def _key(fault: Mapping[str, Any], document: Document) -> Key:
    """The config key of a pydantic fault: its location without the parts that only name a union's member."""
    if not fault["loc"]:
        return ()
    key: Key = ()
    branch: Any = document.tree
    *parts, last = fault["loc"]
    for part in parts:
        if not isinstance(branch, dict) or part in branch:
            key = (*key, part)
            branch = branch[part]
    return (*key, last, "kind") if fault["type"] == "union_tag_invalid" else (*key, last)


def _pair_faults(config: RunConfig) -> Iterator[tuple[Key, str]]:
    """Faults that no single value has, but two together do."""
    for network in ("generator", "critic"):
        try:
            getattr(config, network).check_shape(config.data.shape)
        except ValueError as error:
            yield (network, "kind"), str(error)
    if config.critic.norm == "batch" and config.lipschitz.per_sample:
        remedy = f"{config.lipschitz.kind} needs per-sample gradients; use layer or none"
        yield ("critic", "norm"), f"batch mixes the samples of a batch, but {remedy}"
    batch = config.training.batch_size
    if config.data.size is not None and batch > config.data.size:
        yield (
            ("training", "batch_size"),
            f"{batch} is larger than the data, which has {config.data.size} samples",
        )
    if config.training.engine == "compile":
        yield from _peculiar(
            config,
            {
                "norm": "batch norm keeps a state, which training.engine: compile can't hold; use eager, layer or none",
                "dropout": "dropout draws other numbers under training.engine: compile; use eager, or set it to 0",
            },
        )
    if batch == 1 and "batch" in (config.generator.norm, config.critic.norm):
        yield ("training", "batch_size"), "a norm over the batch needs at least 2 samples in it"


def _rank_faults(config: RunConfig, ranks: int) -> Iterator[tuple[Key, str]]:
    """What one process can do, but several can't do exactly like one."""
    batch = config.training.batch_size
    if batch % ranks:
        near = max(batch // ranks, 1) * ranks
        yield ("training", "batch_size"), f"{batch} does not divide over {ranks} ranks; use {near}, or fewer ranks"
    yield from _peculiar(
        config,
        {
            "norm": "batch takes each rank's samples alone; train on one rank, or use layer or none",
            "dropout": "dropout draws other numbers on each rank; train on one rank, or set it to 0",
        },
    )


def _peculiar(config: RunConfig, faults: Mapping[str, str]) -> Iterator[tuple[Key, str]]:
    """The fault of each network that has what plain steps of one process alone can do."""
    for network in ("generator", "critic"):
        key = getattr(config, network).peculiar_key
        if key is not None:
            yield (network, key), faults[key]


def _explain(fault: Mapping[str, Any], document: Document, model: type[BaseModel]) -> str:
    """One pydantic fault in a user's words: what is wrong, what was written, what is allowed."""
    kind, context, got = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind == "json_invalid":
        return "holds nesting or characters that no config has"
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        *above, word = _key(fault, document)
        message = "unknown key" + _suggest(str(word), list(_options(model, fault["loc"][:-1])[0].model_fields))
        if document.places.get((*above, "kind"), "").startswith("--set"):
            message += f" (to change a kind, replace the whole mapping: --set '{dotted(above)}={{kind: ...}}')"
        return message
    if kind == "union_tag_not_found":
        return "kind is missing" + _suggest("", [_tag(option) for option in _options(model, fault["loc"])])
    if kind == "union_tag_invalid":
        return f"unknown: {_short(got['kind']).strip(chr(34))}" + _suggest(
            context["tag"], [_tag(option) for option in _options(model, fault["loc"])]
        )
    message = fault["msg"].replace("Input should be", "must be", 1)
    if kind in ("too_long", "too_short"):
        message = f"must have {context.get('max_length', context.get('min_length'))} items"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be a mapping of keys to values"
    return f"{message}, but is {_short(got)}"


def _short(value: Any) -> str:
    """A value as it is written in JSON, cut where a line would grow too long."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _suggest(word: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, allowed, n=1)
    return (f"; did you mean {near[0]}?" if near else "; ") + f"{' A' if near else 'a'}llowed: {', '.join(allowed)}"


def _tag(option: type[BaseModel]) -> str:
    return str(option.model_fields["kind"].default)


def _options(model: type[BaseModel], location: Sequence[str | int]) -> list[type[BaseModel]]:
    """The config classes that may stand at a pydantic location in `model`; it names the member of each union."""
    options: list[type[BaseModel]] = [model]
    for part in location:
        members: list[type[BaseModel]] = [o for o in options if issubclass(o, Choice) and _tag(o) == part]
        if members:
            options = members
        else:
            annotation: Any = options[0].model_fields[str(part)].annotation
            options = list(get_args(annotation)) or [annotation]
    return options
