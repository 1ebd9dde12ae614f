"""What an iteration is made of, counted on a CPU: floating-point operations, and kernels to launch."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.flop_counter import flop_registry

from wgan_cli.config.run_config import RunConfig
from wgan_cli.training.trainer import Trainer


def gflop(config: RunConfig) -> float:
    """Floating-point operations of one iteration, counted by torch over forward and backward passes, in 10⁹."""
    trainer = _trainer(config, "eager")
    with CountedFlops() as counted:
        trainer.iterate()
    return counted.total / 1e9


def launches(config: RunConfig) -> int:
    """The operations of an iteration that compute or copy something: on a GPU, each is one kernel at least. Counted in
    the second iteration, as optimizers make their moments in the first."""
    trainer = _trainer(config, "eager")
    trainer.iterate()
    with CountedLaunches() as counted:
        trainer.iterate()
    return counted.total


def compiled_launches(config: RunConfig) -> int:
    """As `launches`, with compiled losses and gradients: their kernels are those that inductor makes for a CPU, where
    one kernel may be several loops, and the operations that it leaves to libraries."""
    trainer = _trainer(config, "compile")
    differentiate, counted, kernels = trainer.steps.differentiate, CountedLaunches(), Counter[str]()

    def compiled(network: nn.Module, loss: Callable[..., Any], *others: Any) -> Any:
        if loss.__name__ not in kernels:  # the first call
            figures, kernels[loss.__name__] = _kernels(lambda: differentiate(network, loss, *others))
            return figures
        with _disable_current_modes():  # inside a mode, nothing compiled is run
            figures = differentiate(network, loss, *others)
        counted.total += kernels[loss.__name__] + 1  # the copy of all gradients to where the optimizer reads them
        return figures

    trainer.steps = replace(trainer.steps, differentiate=compiled)
    trainer.iterate()
    counted.total = 0  # of the critic's first steps
    with counted:
        trainer.iterate()
    return counted.total


def _kernels(compiling: Callable[[], Any]) -> tuple[Any, int]:
    """What the call returns, and the kernels that the code runs which it compiles: inductor's own, and libraries'."""
    from torch._inductor import config as inductor
    from torch._inductor.utils import run_and_get_code

    with inductor.patch(force_disable_caches=True):
        result, codes = run_and_get_code(compiling)
    body = "\n".join(code[code.index("def call(") :] for code in codes)
    return result, len(
        re.findall(r"^ +(?:\S+ = )?(?:extern_kernels\.|cpp_fused\w*\(|torch\.ops\.)", body, re.MULTILINE)
    )


def _trainer(config: RunConfig, engine: str) -> Trainer:
    training = config.training.model_copy(update={"engine": engine})
    return Trainer(config.model_copy(update={"training": training}), torch.device("cpu"))


class CountedLaunches(TorchDispatchMode):
    """Counts the operations that are neither views of tensors nor new tensors without content."""

    IDLE = ("empty", "new_empty", "squeeze_", "unsqueeze_", "_unsafe_view", "promote_types", "scalar_tensor")
    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        space, _, name = func._schema.name.partition("::")
        self.total += space == "aten" and not func.is_view and not name.startswith(self.IDLE)
        return func(*args, **(kwargs or {}))


class CountedFlops(TorchDispatchMode):
    """Adds up torch's own counts for each product and convolution. torch's `FlopCounterMode` also follows modules, by
    hooks that can't be differentiated twice."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=result) if count else 0
        return result
