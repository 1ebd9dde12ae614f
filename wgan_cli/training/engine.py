"""Engines execute iterations. All engines compute the same result.

`eager` runs one operation after the other. `compile` traces each loss with its gradients, including the double backward
of the penalty, into one graph of plain operations, which torch's inductor compiles. `graph` captures a whole iteration
once, with all critic steps and the generator step, and replays it with one launch. Without this, a GPU waits for Python
most of the time, because the networks are small. `compiled_graph` does both: its graph holds fewer, compiled kernels.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from wgan_cli.errors import BadInputError, WganError, is_out_of_memory
from wgan_cli.training.distributed import World
from wgan_cli.training.steps import Figures, Loss, backward


class Outcome(NamedTuple):
    """What an iteration leaves: figures, and the batches of its last critic step, with their conditions if any."""

    figures: Figures
    real: Tensor
    fake: Tensor
    condition: Tensor | None = None


class Engine:
    """Executes iterations. This class is the engine `eager`; the others override some of its methods."""

    name: ClassVar[str] = "eager"
    capturable: ClassVar[bool] = False
    """Whether optimizers must keep their counters and learning rates on the device."""

    def __init__(self, streams: Sequence[torch.Generator]) -> None:
        """`streams` are the random streams that an iteration draws from."""
        self.streams = streams

    @classmethod
    def check(cls, device: torch.device, world: World) -> None:
        """Raises `BadInputError` if the engine can't work on this device or with this number of ranks."""
        return

    def differentiate(self, network: nn.Module, loss: Loss, *others: Any) -> Figures:
        """Sets the gradients of `loss(network, *others)` on the network's parameters; returns its figures."""
        return backward(network, loss, *others)

    def execute(self, iteration: Callable[[], Outcome]) -> Outcome:
        """Runs `iteration`, the same function each time."""
        return iteration()

    def reset(self) -> None:
        """Call it after tensors that an iteration reads were replaced, for example by loading a state."""
        return


class CompileEngine(Engine):
    """Compiles losses and gradients; updates run as in `eager`.

    The first call compiles. This takes some seconds, or half a minute if no earlier run has cached the kernels.
    """

    name = "compile"

    def __init__(self, streams: Sequence[torch.Generator]) -> None:
        super().__init__(streams)
        self._compiled: dict[str, Callable[..., Any]] = {}

    @classmethod
    def check(cls, device: torch.device, world: World) -> None:
        super().check(device, world)
        if device.type == "cpu":
            _check_compiler(cls.name)

    def differentiate(self, network: nn.Module, loss: Loss, *others: Any) -> Figures:
        weights: list[Tensor] = list(network.parameters())
        fixed = [list(other.parameters()) if isinstance(other, nn.Module) else other for other in others]
        name = loss.__name__
        if name not in self._compiled:
            self._compiled[name] = _compiled(network, loss, others, weights, fixed)
        try:
            with torch.no_grad():  # else the compiler would differentiate the gradients once more, for nobody
                gradients, figures = self._compiled[name](weights, fixed)
        except torch._dynamo.exc.TorchDynamoException as error:  # of the first call, which compiles
            if is_out_of_memory(error):
                raise
            raise WganError(f"training.engine: {self.name} failed ({_reason(error)}); use eager") from error
        places = [_gradient(weight) for weight in weights]
        torch._foreach_copy_(places, list(gradients))
        return figures


def _check_compiler(engine: str) -> None:
    """Raises `BadInputError` if there is no C++ compiler, with which torch compiles for the CPU."""
    # torch has no public function for this; where it searches depends on its version, the system and $CXX. The import
    # takes seconds, so only runs that compile, and need all of it anyway, do it.
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except (RuntimeError, OSError) as error:
        raise BadInputError(
            f"training.engine: {engine} needs a C++ compiler, such as g++ ({error}); install one, name it by $CXX, or "
            "use eager"
        ) from error


def _reason(error: Exception) -> str:
    """Why torch's compiler failed, in one line: the first error of the C++ compiler, if it is one of that."""
    text = str(getattr(error, "inner_exception", error))
    return next((line for line in text.splitlines() if "error:" in line), text.partition("\n")[0])


def _gradient(weight: Tensor) -> Tensor:
    """The weight's gradient; a new one has the weight's memory format, which fused optimizers need."""
    if weight.grad is None:
        weight.grad = torch.empty_like(weight)
    return weight.grad


_aten = torch.ops.aten
_GROUP_NORM: dict[Any, Callable[..., Any]] = dict(
    get_decompositions([_aten.native_group_norm, _aten.native_group_norm_backward])
)
"""In plain operations from the start: the compiler's own are laid out in another way than the trace expects."""


def _compiled(
    network: nn.Module, loss: Loss, others: Sequence[Any], weights: list[Tensor], fixed: list[Any]
) -> Callable[..., Any]:
    """A compiled function of weights and fixed tensors: the gradients of `loss(network, *others)`, and its figures.

    It is traced into plain operations first, because the compiler can't differentiate twice.
    """

    def function(weights: list[Tensor], fixed: list[Any]) -> tuple[tuple[Tensor, ...], Figures]:
        leaves = [weight.detach().requires_grad_() for weight in weights]
        arguments = [
            _with(other, tensors) if isinstance(other, nn.Module) else tensors
            for other, tensors in zip(others, fixed, strict=True)
        ]
        value, figures = loss(_with(network, leaves), *arguments)
        return torch.autograd.grad(value, leaves), figures

    detached = [weight.detach() for weight in weights]
    traced = make_fx(function, _GROUP_NORM, tracing_mode="fake")(detached, fixed)
    return torch.compile(traced, dynamic=False)


def _with(network: nn.Module, weights: Iterable[Tensor]) -> Callable[..., Tensor]:
    """The network as a function that uses `weights` in place of its own."""
    named = {name: weight for (name, _), weight in zip(network.named_parameters(), weights, strict=True)}
    return lambda *inputs: functional_call(network, named, inputs)


class GraphEngine(Engine):
    """Captures an iteration in one CUDA graph after a few eager ones, and replays it from then on.

    All tensors that an iteration reads must stay at their addresses and be changed in place: weights, moments, the
    learning rate, the drawn batches. The next replay overwrites the tensors that an iteration returned. Each replay
    advances the random streams as an eager iteration does.
    """

    name = "graph"
    capturable = True
    WARM_UP = 3
    """Eager iterations on a side stream before the capture, so that libraries and optimizers allocate their tensors."""

    def __init__(self, streams: Sequence[torch.Generator]) -> None:
        super().__init__(streams)
        self.reset()

    @classmethod
    def check(cls, device: torch.device, world: World) -> None:
        if not _can_capture(device, world):
            where = f"{world.size} ranks" if device.type == "cuda" else f"device {device.type}"
            raise BadInputError(f"training.engine: {cls.name} needs one GPU, but this is {where}; use auto or eager")

    def reset(self) -> None:
        self._warmed_up = 0
        self._captured: tuple[torch.cuda.CUDAGraph, Outcome] | None = None

    @cached_property
    def _side(self) -> torch.cuda.Stream:
        """The stream of each warm-up and capture. One for all: cuBLAS keeps a workspace for every stream it ran on."""
        return torch.cuda.Stream()

    def execute(self, iteration: Callable[[], Outcome]) -> Outcome:
        if self._warmed_up < self.WARM_UP:
            self._warmed_up += 1
            return self.warm_up(iteration)
        if self._captured is None:
            self._captured = self.capture(iteration)
        graph, outcome = self._captured
        graph.replay()
        return outcome

    def warm_up(self, iteration: Callable[[], Outcome]) -> Outcome:
        """Runs one eager iteration on the side stream."""
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side), warnings.catch_warnings():
            # Capturable optimizers warn when they run outside a capture.
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
            outcome = iteration()
        torch.cuda.current_stream().wait_stream(self._side)
        return outcome

    def capture(self, iteration: Callable[[], Outcome]) -> tuple[torch.cuda.CUDAGraph, Outcome]:
        """The graph of one iteration, and the tensors that each replay writes."""
        graph = torch.cuda.CUDAGraph()
        if torch.__version__ < "2.14":  # since then it does nothing but warn, on stderr, where no filter holds it
            for stream in self.streams:
                graph.register_generator_state(stream)
        faults: list[BaseException] = []
        try:
            # The outer context gives back the caller's stream: the inner one does not if the capture's end fails.
            # Other threads may go on: one pins streamed batches, another writes files.
            capturing = torch.cuda.graph(graph, stream=self._side, capture_error_mode="thread_local")
            with torch.cuda.stream(self._side), capturing:
                try:
                    return graph, iteration()
                except BaseException as error:  # the end of a capture that failed raises an error of its own
                    faults.append(error)
                    raise
        except RuntimeError as error:
            faults.append(error)
        raise _refused(self.name, faults)


def _refused(name: str, faults: Sequence[BaseException]) -> BaseException:
    """What to raise for a capture by engine `name` that failed by these errors, the first of which led to the others.

    Memory that ran out is for the caller, who knows what to lower; and so is what says nothing of the capture, such as
    a signal that came during it.
    """
    fault = next(filter(is_out_of_memory, faults), faults[0])
    if is_out_of_memory(fault) or not isinstance(fault, RuntimeError):
        return fault
    reason = str(fault).partition("\n")[0]
    refused = WganError(f"training.engine: {name} can't hold this iteration ({reason}); use eager")
    refused.__cause__ = fault
    return refused


class CompiledGraphEngine(CompileEngine, GraphEngine):
    """Captures iterations whose losses and gradients are compiled. The compiler works in the warm-up, never in the
    capture, which holds its kernels like any others."""

    name = "compiled_graph"


ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Engine, CompileEngine, GraphEngine, CompiledGraphEngine)
}


def pick_engine(name: str, device: torch.device, world: World) -> type[Engine]:
    """The engine called `name`; `auto` is graph on one GPU, else eager. Raises the errors of `Engine.check`."""
    if name == "auto":
        return GraphEngine if _can_capture(device, world) else Engine
    engine = ENGINES[name]
    engine.check(device, world)
    return engine


def _can_capture(device: torch.device, world: World) -> bool:
    return device.type == "cuda" and world.size == 1
