"""A stand-in for a GPU: tensors that have a device, a shape and a type, but no values. Needs no GPU.

Under torch's `FakeTensorMode` a whole iteration runs on it, double backward included, and a dispatch mode sees each of
its operations. What needs a value (`item`, a branch, a mask) fails, as there is none; what touches the host is noted.

    python -m tests.stand_in EXAMPLES EMPTY < cases.json     # prints what was seen of each case, as one JSON object

The device can't be taken back, so it needs a process of its own. All private names of torch that the tests rely on are
in this file: `missing` says which of them a version of torch lacks.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

PRIVATE = {
    "torch._C": ("_set_only_lift_cpu_tensors",),
    "torch._subclasses.fake_tensor": ("FakeTensorMode",),
    "torch.utils._python_dispatch": ("_disable_current_modes",),
    "torch.utils._pytree": ("tree_leaves",),
    "torch.utils.backend_registration": ("_DummyBackendModule", "_setup_privateuseone_for_python_backend"),
}
NAME = "standin"
CPU = torch.device("cpu")
WALKED = (list, tuple, dict)


def missing() -> list[str]:
    """The private names that this version of torch lacks."""
    lacking = []
    for module, names in PRIVATE.items():
        try:
            found = importlib.import_module(module)
        except ImportError:
            lacking.append(module)
        else:
            lacking += [f"{module}.{name}" for name in names if not hasattr(found, name)]
    return lacking


class StandInGenerator(torch.Generator):
    """Random numbers of any device: only the generator's state is real, and it lies on the CPU."""

    def __new__(cls, device: Any = CPU) -> "StandInGenerator":
        made = super().__new__(cls)
        made.where = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.where


@dataclass
class Seen:
    """What a watch has seen of the host in a part of an iteration, and how many operations the device had."""

    faults: list[str] = field(default_factory=list)
    operations: int = 0


class Watch(TorchDispatchMode):
    """Notes each operation that touches the host's memory, or that can't be done without a value. If it
    `may_work_on_host`, what computes there and leaves the device alone is none of them."""

    def __init__(self, *, may_work_on_host: bool) -> None:
        super().__init__()
        self.seen, self.may_work_on_host = Seen(), may_work_on_host
        self.is_asleep, self.failed = False, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func._schema.name.removeprefix("aten::")
        compute = {"_fused_adam_": self.fused_adam, "lift_fresh": without_value}.get(name, func)
        if self.is_asleep or name.startswith("prim::"):  # `prim` asks a tensor for its device
            return compute(*args, **kwargs)
        given = tensors((args, kwargs))
        try:
            result = compute(*args, **kwargs)
        except RuntimeError as error:  # torch's errors of this kind are all of this class
            self.note(name, f"{type(error).__name__}, which needs a value or mixes devices")
            self.failed = True
            raise
        places = sorted({tensor.device.type for tensor in [*given, *tensors(result)]})
        if "cpu" in places and (len(places) > 1 or not self.may_work_on_host):
            self.note(name, " and ".join(places))
        self.seen.operations += NAME in places
        return result

    def fused_adam(self, *_: Any, lr: float | Tensor, **others: Any) -> None:
        """torch has no rule for this kernel without values. CUDA's reads a rate as float32."""
        if isinstance(lr, Tensor) and lr.dtype != torch.float32:
            self.note("_fused_adam_", f"a rate in {lr.dtype}")

    def note(self, name: str, what: str) -> None:
        self.seen.faults.append(f"{name}: {what}")


def place(network: nn.Module, device: torch.device) -> None:
    """Moves a network as `networks.pair` does. `Module.to` would swap tensors in place, which those without values
    can't be."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            moved = weight.detach().to(device, memory_format=formats.get(weight.dim(), torch.preserve_format))
            setattr(module, name, nn.Parameter(moved, requires_grad=weight.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))


def without_value(tensor: Tensor) -> Tensor:
    """A new tensor of the host, as `torch.tensor` makes it. torch would remember the value of a small one."""
    lifted = torch.ops.aten.lift_fresh(tensor)
    lifted.constant = None
    return lifted


def tensors(tree: Any) -> list[Tensor]:
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@dataclass
class StandIn:
    """The device, once it is set up in this process, and the mode under which its tensors are made."""

    device: torch.device
    mode: Any

    @classmethod
    def set_up(cls) -> "StandIn":
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils import backend_registration

        class Backend(backend_registration._DummyBackendModule):  # type: ignore[misc]
            def get_amp_supported_dtype(self) -> list[torch.dtype]:
                return [torch.bfloat16]

        backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Backend())
        FakeTensorMode.__deepcopy__ = lambda mode, memo: mode  # tensors of a copied network stay of the same mode
        torch.Generator = StandInGenerator
        torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(..., device=...)` is a copy from the host, and seen
        return cls(torch.device(NAME, 0), FakeTensorMode(allow_non_fake_inputs=True))

    def moved(self, thing: Any, done: dict[int, Any] | None = None) -> Any:
        """What was loaded on the CPU, as it would be if it had been loaded on the device: data, their dataclasses, and
        the tensors that functions hold."""
        done = {} if done is None else done
        if isinstance(thing, Tensor):
            return self.mode.from_tensor(thing).to(self.device)
        if isinstance(thing, torch.device):
            return self.device
        if id(thing) in done:
            return thing
        done[id(thing)] = thing
        if isinstance(thing, WALKED):
            values = thing.items() if isinstance(thing, dict) else enumerate(thing)
            pairs = {key: self.moved(value, done) for key, value in values}
            return pairs if isinstance(thing, dict) else type(thing)(pairs.values())
        if isinstance(thing, MethodType):
            self.moved(thing.__self__, done)
        elif isinstance(thing, FunctionType):
            for cell in thing.__closure__ or ():
                cell.cell_contents = self.moved(cell.cell_contents, done)
        elif type(thing).__module__.startswith("wgan_cli.") and not isinstance(thing, BaseModel):
            names = [part.name for part in fields(thing)] if is_dataclass(thing) else list(vars(thing))
            for name in names:
                object.__setattr__(thing, name, self.moved(getattr(thing, name), done))
        return thing


def dataset_on(stand_in: StandIn, config: Any, load: Callable[[Any, torch.device], Any]) -> Any:
    """The dataset of a config: loaded on the CPU with its values, then moved."""
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        dataset = load(config, CPU)
        conditional = dataset if hasattr(dataset, "inner") else None
        inner = dataset.inner if conditional else dataset
        if hasattr(inner, "samples") and not inner.samples.is_resident:
            sample = inner.samples.at(torch.arange(1))[0]  # a thread gathers on the host, from files
            object.__setattr__(inner.samples, "gather", lambda chosen: torch.zeros(len(chosen), *sample.shape))
        kept = conditional.conditions if conditional else None  # stays on the CPU: pictures' conditions come from it
    return stand_in.moved(dataset, {} if kept is None else {id(kept): kept})


def trainer_on(stand_in: StandIn, config: Any) -> Any:
    """A trainer on the stand-in whose engine watches what `graph` would capture, from the second iteration on."""
    from wgan_cli.config.run_config import RunConfig
    from wgan_cli.networks import pair
    from wgan_cli.optimizers import OptimizerSpec
    from wgan_cli.training import trainer as room
    from wgan_cli.training.engine import Engine

    class Watched(Engine):
        capturable = True
        inside: Watch | None = None
        around: Watch

        def execute(self, iteration: Callable[[], Any]) -> Any:
            if self.inside is None:
                return iteration()
            self.around.is_asleep = True
            with self.inside:
                outcome = iteration()
            self.around.is_asleep = False
            return outcome

    load, first_rate = RunConfig.load_data, OptimizerSpec._first_rate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair, "_place", place)
        patch.setattr(room, "pick_engine", lambda *_: Watched)
        patch.setattr(RunConfig, "load_data", lambda config, _: dataset_on(stand_in, config, load))
        # torch looks at the value of a rate when it makes an optimizer, and at a list of devices for fused ones.
        patch.setattr(OptimizerSpec, "_first_rate", lambda spec, *_: spec.lr)
        trainer = room.Trainer(config, stand_in.device)
    for name, optimizer in trainer.optimizers.items():
        spec = getattr(config.optimizer, name)
        for group in optimizer.param_groups:
            group.update(lr=first_rate(spec, group["params"], True))
            if "betas" in group:
                group.update(fused=True, foreach=False)
    return trainer


def watched(stand_in: StandIn, config: Any) -> dict[str, Any]:
    """What the second iteration has in the part that `graph` captures, and around it."""
    inside, around = Watch(may_work_on_host=False), Watch(may_work_on_host=True)
    around.is_asleep = True
    try:
        with stand_in.mode, around:
            trainer = trainer_on(stand_in, config)
            trainer.iterate()  # moments are made
            trainer.engine.inside, trainer.engine.around = inside, around
            around.is_asleep = False
            trainer.iterate()
    except RuntimeError:  # of an operation that a watch has seen fail, and noted; any other is an error of ours
        if not (inside.failed or around.failed):
            raise
    return {"captured": vars(inside.seen), "around": vars(around.seen)}


def noted(stand_in: StandIn, plant: Callable[[torch.device], object]) -> list[str]:
    """What the watch of the captured part notes of a planted fault."""
    watch = Watch(may_work_on_host=False)
    try:
        with stand_in.mode, watch:
            plant(stand_in.device)
    except RuntimeError:  # as above
        if not watch.failed:
            raise
    return watch.seen.faults


def random_numbers_of_the_host(device: torch.device) -> None:
    torch.rand(3, device=device) + torch.rand(())


def fused_step_in_float64(device: torch.device) -> None:
    weight, gradient, mean, square, step = (torch.ones(3, device=device) for _ in range(5))
    rate = torch.full((), 1e-3, dtype=torch.float64, device=device)
    settings = {"beta1": 0.9, "beta2": 0.9, "weight_decay": 0.0, "eps": 1e-8, "amsgrad": False, "maximize": False}
    torch._fused_adam_([weight], [gradient], [mean], [square], [], [step], lr=rate, **settings)


PLANTED: dict[str, Callable[[torch.device], object]] = {
    "item": lambda device: torch.ones((), device=device).item(),
    "a list of values": lambda device: torch.ones(3, device=device).tolist(),
    "a branch on data": lambda device: "yes" if torch.ones(3, device=device).sum() > 0 else "no",
    "a scalar of the host": lambda device: torch.ones(3, device=device) * torch.tensor(2.0),
    "random numbers of the host": random_numbers_of_the_host,
    "a copy to the device": lambda device: torch.tensor([1.0, 2.0], device=device),
    "a copy to the host": lambda device: torch.ones(3, device=device).cpu(),
    "a copy into the host's memory": lambda device: torch.zeros(3).copy_(torch.ones(3, device=device)),
    "a mask": lambda device: torch.ones(3, device=device)[torch.ones(3, device=device) > 0],
    "an index of the host": lambda device: torch.ones(3, device=device)[torch.tensor([0, 2])],
    "a rate that CUDA can't read": fused_step_in_float64,
    "two devices": lambda device: torch.ones(3, device=device) + torch.ones(3),
}
"""What makes an iteration wait for the device, or read memory that a graph would not read again."""


def main(examples: str, root: str) -> None:
    """Watches each case of the JSON object on stdin: overrides of shipped configs, by any name, `ROOT` in them being a
    folder of made-up data; then each planted fault."""
    from tests.test_every_kind import write_data
    from wgan_cli.config.load import load_config

    cases = json.load(sys.stdin)
    os.chdir(examples)
    os.environ["WGAN_DATA"] = root
    stand_in = StandIn.set_up()
    with pytest.MonkeyPatch.context() as patch:
        write_data(Path(root), patch)
        seen = {
            name: watched(stand_in, load_config(config, [text.replace("ROOT", root) for text in overrides]))
            for name, (config, overrides) in cases.items()
        }
    planted = {name: noted(stand_in, plant) for name, plant in PLANTED.items()}
    print(json.dumps({"cases": seen, "planted": planted}), flush=True)
    os._exit(0)  # threads that torch started for the device don't end by themselves


if __name__ == "__main__":
    main(*sys.argv[1:])
