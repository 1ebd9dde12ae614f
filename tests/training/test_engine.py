"""Every engine computes what the eager one does. Graphs need a GPU: here, the memory they would hold is checked."""

import copy
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.helpers import (
    CASES,
    CPU,
    ORTHOGONAL,
    STRATEGIES,
    apart,
    case,
    differing,
    leave_out_machine_code,
    weights,
)
from wgan_cli import optimizers
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.training.distributed import ALONE, World
from wgan_cli.training.engine import (
    ENGINES,
    CompiledGraphEngine,
    CompileEngine,
    Engine,
    GraphEngine,
    Outcome,
    pick_engine,
)
from wgan_cli.training.steps import Figures
from wgan_cli.training.trainer import Trainer


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(("network", "strategy"), [*CASES, *ORTHOGONAL])
def test_compiled_steps_are_eager_steps(network: str, strategy: str, made_up_mnist: Path) -> None:
    eager = Trainer(case(network, strategy, made_up_mnist), CPU)
    compiled = Trainer(case(network, strategy, made_up_mnist, "training.engine=compile"), CPU)
    before = weights(eager)
    assert apart(eager, compiled) < 1e-10
    assert (weights(eager) - before).norm() > 0.01 * before.norm()  # they did move


@pytest.mark.usefixtures("vectorised")
def test_compiled_steps_are_near_eager_ones_in_float32(made_up_mnist: Path) -> None:
    smooth = ("generator.activation=tanh", "critic.activation=tanh")  # at a kink, rounding can change the way
    eager, compiled = (
        Trainer(case("mlp", STRATEGIES[0], made_up_mnist, *smooth, f"training.engine={name}"), CPU)
        for name in ("eager", "compile")
    )
    assert apart(eager, compiled) < 1e-4


class Replay:
    """A CUDA graph's behaviour on the CPU: each replay runs what was captured, and writes into the same tensors."""

    def __init__(self, iteration: Callable[[], Outcome], outcome: Outcome) -> None:
        self.iteration, self.outcome = iteration, outcome

    def replay(self) -> None:
        new = self.iteration()
        for name, value in new.figures.items():
            self.outcome.figures[name].copy_(value)
        self.outcome.real.copy_(new.real)
        self.outcome.fake.copy_(new.fake)


class GraphOnCpu(GraphEngine):
    """Warms up, captures and replays as `GraphEngine` does, without CUDA."""

    captures = 0

    @classmethod
    def check(cls, device: torch.device, world: World) -> None:
        return

    def warm_up(self, iteration: Callable[[], Outcome]) -> Outcome:
        outcome = iteration()
        figures = {name: value.clone() for name, value in outcome.figures.items()}
        self.outcome = Outcome(figures, outcome.real.clone(), outcome.fake.clone())
        return outcome

    def capture(self, iteration: Callable[[], Outcome]) -> tuple[Any, Outcome]:
        self.captures += 1
        return Replay(iteration, self.outcome), self.outcome


class CompiledGraphOnCpu(GraphOnCpu, CompiledGraphEngine):
    """As `GraphOnCpu`, with the compiled gradients of `CompiledGraphEngine`."""


@pytest.fixture
def graph_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both graph engines work here. torch refuses capturable optimizers of tensors on the CPU: they are built as others
    are, but for their rate, which is a tensor all the same."""

    def build(build: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
        def with_tensor_rate(spec: optimizers.OptimizerSpec, parameters: Any, capturable: bool) -> Any:
            optimizer = build(spec, parameters)
            if capturable:
                optimizer.param_groups[0]["lr"] = torch.tensor(spec.lr)
            return optimizer

        return with_tensor_rate

    monkeypatch.setitem(ENGINES, "graph", GraphOnCpu)
    monkeypatch.setitem(ENGINES, "compiled_graph", CompiledGraphOnCpu)
    for kind in (optimizers.Adam, optimizers.RmsProp):
        monkeypatch.setattr(kind, "build", build(kind.build))


def graph_case(network: str, strategy: str, mnist: Path, engine: str = "graph") -> Trainer:
    rmsprop = "{kind: rmsprop, lr: 1.0e-3, decay: linear}"
    clips = (f"optimizer={{generator: {rmsprop}, critic: {rmsprop}}}",) if "clip" in strategy else ()
    more = (*clips, "training.iterations=8", f"training.engine={engine}")
    return Trainer(case(network, strategy, mnist, *more), CPU)


class Gathers(TorchDispatchMode):
    """Notes where the tensors are that `data[chosen]` reads."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.index:
            self.places += [args[0].data_ptr(), *(chosen.data_ptr() for chosen in args[1])]
        return func(*args, **(kwargs or {}))


def places(trainer: Trainer) -> dict[str, int]:
    """The address of each tensor that a captured iteration reads or writes."""
    states = {network: module.state_dict() for network, module in trainer.networks.named().items()}
    found = {f"{network} {name}": value.data_ptr() for network in states for name, value in states[network].items()}
    for name, optimizer in trainer.optimizers.items():
        found[f"{name} rate"] = optimizer.param_groups[0]["lr"].data_ptr()
        for i, state in enumerate(optimizer.state.values()):
            found |= {f"{name} {i} {key}": value.data_ptr() for key, value in state.items()}
    return found


@pytest.mark.usefixtures("graph_on_cpu")
@pytest.mark.parametrize(("network", "strategy"), CASES)
def test_what_a_graph_holds_stays_in_its_place(network: str, strategy: str, made_up_mnist: Path) -> None:
    """A graph reads and writes the memory it was captured with: nothing may move from iteration to iteration."""
    trainer = graph_case(network, strategy, made_up_mnist)
    trainer.iterate()
    before = places(trainer)
    rates, gathers = set(), []
    for _ in range(7):
        with Gathers() as gather:
            trainer.iterate()
        gathers.append(gather.places)
        rates.add(trainer.optimizers["generator"].param_groups[0]["lr"].item())
    assert places(trainer) == before
    assert gathers == [gathers[0]] * 7  # images and the drawn indices
    assert bool(gathers[0]) == (network == "conv")
    assert len(rates) == 7  # it decays in place


@pytest.mark.usefixtures("graph_on_cpu", "in_float64")
@pytest.mark.parametrize(("network", "strategy"), CASES)
def test_replayed_steps_are_eager_steps(network: str, strategy: str, made_up_mnist: Path) -> None:
    eager, graph = (graph_case(network, strategy, made_up_mnist, engine) for engine in ("eager", "graph"))
    assert apart(eager, graph, iterations=8) < 1e-10


@pytest.mark.usefixtures("graph_on_cpu", "in_float64")
@pytest.mark.parametrize("network", ["mlp", "mcshane"])
def test_compiled_replays_are_eager_steps(network: str, made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled is compiled once, in the warm-up, and a loaded state does not need it again."""
    leave_out_machine_code(monkeypatch)
    strategy = "{kind: none}" if network == "mcshane" else STRATEGIES[0]
    eager, graph = (graph_case(network, strategy, made_up_mnist, engine) for engine in ("eager", "compiled_graph"))
    assert apart(eager, graph, iterations=1) < 1e-10
    compiled = dict(graph.engine._compiled)
    assert len(compiled) == 2
    state = copy.deepcopy(graph.state_dict())
    assert apart(eager, graph, iterations=7) < 1e-10
    assert graph.engine.captures == 1
    graph.load_state_dict(state)
    for _ in range(7):
        graph.iterate()
    assert graph.engine.captures == 2
    assert graph.engine._compiled == compiled
    assert (weights(eager) - weights(graph)).norm() < 1e-10 * weights(eager).norm()


@pytest.mark.usefixtures("graph_on_cpu")
def test_a_loaded_state_is_captured_anew(made_up_mnist: Path) -> None:
    """Moments were replaced: what was captured before reads the old ones."""
    trainer = graph_case("mlp", STRATEGIES[0], made_up_mnist)
    for _ in range(6):
        trainer.iterate()
    assert trainer.engine.captures == 1
    trainer.load_state_dict(trainer.state_dict())
    for _ in range(GraphEngine.WARM_UP + 2):
        trainer.iterate()
    assert trainer.engine.captures == 2


def test_an_engine_executes_the_average_too(monkeypatch: pytest.MonkeyPatch, made_up_mnist: Path) -> None:
    """Outside the graph, it would cost launches of its own at every iteration."""
    trainer = Trainer(case("conv", STRATEGIES[0], made_up_mnist, "generator.norm=batch"), CPU)
    trainer.iterate()
    before = copy.deepcopy(trainer.networks.state_dict()["average"])
    outcome = Outcome({}, torch.ones(1), torch.ones(1))
    monkeypatch.setattr(trainer.engine, "execute", lambda _: outcome)
    trainer.iterate()
    assert differing(trainer.networks.state_dict()["average"], before) == []
    monkeypatch.undo()
    trainer.iterate()
    assert set(differing(trainer.networks.state_dict()["average"], before)) == {f"state.{name}" for name in before}


def test_a_graph_is_captured_after_its_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Captured:
        def replay(self) -> None:
            calls.append("replay")

    graph = GraphEngine([])
    monkeypatch.setattr(graph, "warm_up", lambda _: calls.append("warm-up"))
    monkeypatch.setattr(graph, "capture", lambda _: (calls.append("capture"), (Captured(), "outcome"))[1])
    outcomes = [graph.execute(lambda: Outcome({}, torch.ones(1), torch.ones(1))) for _ in range(5)]
    assert calls == ["warm-up"] * 3 + ["capture", "replay", "replay"]
    assert outcomes[3:] == ["outcome", "outcome"]


class Cuda:
    """What `GraphEngine` calls of torch.cuda, on the CPU: it notes streams and graphs. Like torch's own context, the
    end of a capture raises an error of its own if the capture has failed."""

    def __init__(self) -> None:
        self.streams: list[Cuda.Stream] = []
        self.current = self.default = Cuda.Stream(self)
        self.streams.clear()
        self.ran_on: list[Cuda.Stream] = []
        self.registered: list[torch.Generator] = []
        self.instantiation: BaseException | None = None

    class Stream:
        def __init__(self, cuda: "Cuda") -> None:
            cuda.streams.append(self)
            self.waited: list[Any] = []

        def wait_stream(self, other: "Cuda.Stream") -> None:
            self.waited.append(other)

    @contextmanager
    def stream(self, stream: "Cuda.Stream") -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: object, stream: "Cuda.Stream", capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"  # another thread may pin batches
        self.current, failed = stream, True
        try:
            yield
            failed = False
        finally:
            if failed:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nmore of it")
        if self.instantiation is not None:
            raise self.instantiation
        self.current = self.default

    def graphs(self) -> object:
        """A `torch.cuda.CUDAGraph`."""
        return SimpleNamespace(register_generator_state=self.registered.append, replay=lambda: None)

    def iteration(self) -> Outcome:
        self.ran_on.append(self.current)
        return Outcome({}, torch.ones(1), torch.ones(1))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    monkeypatch.setattr(torch.cuda, "Stream", lambda: Cuda.Stream(fake))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: fake.current)
    monkeypatch.setattr(torch.cuda, "stream", fake.stream)
    monkeypatch.setattr(torch.cuda, "graph", fake.graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", fake.graphs)
    return fake


def test_warm_up_and_capture_have_one_stream_for_all(cuda: Cuda) -> None:
    engine = GraphEngine([])
    for _ in range(2):
        for _ in range(6):
            engine.execute(cuda.iteration)
        engine.reset()
    assert len(cuda.streams) == 1
    assert cuda.ran_on == cuda.streams * 2 * (GraphEngine.WARM_UP + 1)
    assert cuda.streams[0].waited == [cuda.default] * 2 * GraphEngine.WARM_UP
    assert cuda.default.waited == cuda.streams * 2 * GraphEngine.WARM_UP
    assert cuda.current is cuda.default


@pytest.mark.parametrize(("version", "is_needed"), [("2.11.0+cu128", True), ("2.13.1", True), ("2.14.1", False)])
def test_streams_are_registered_where_torch_does_not_see_to_it(
    version: str, is_needed: bool, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    streams = [torch.Generator(), torch.Generator()]
    GraphEngine(streams).capture(cuda.iteration)
    assert cuda.registered == (streams if is_needed else [])


def captured_with(cuda: Cuda, fault: BaseException) -> None:
    """Warms up, and captures an iteration that fails by `fault`."""
    engine = GraphEngine([])
    for _ in range(GraphEngine.WARM_UP):
        engine.execute(cuda.iteration)

    def failing() -> Outcome:
        raise fault

    engine.execute(failing)


def test_a_capture_that_fails_says_why(cuda: Cuda) -> None:
    fault = RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore of it")
    message = r"can't hold this iteration \(CUDA error: operation not permitted when stream is capturing\); use eager"
    with pytest.raises(WganError, match=message) as caught:
        captured_with(cuda, fault)
    assert caught.value.__cause__ is fault
    assert cuda.current is cuda.default  # the next computation does not go to the stream of a dead capture


def test_a_capture_that_fails_at_its_end_says_why(cuda: Cuda) -> None:
    cuda.instantiation = RuntimeError("CUDA error: operation not supported")
    with pytest.raises(
        WganError, match=r"can't hold this iteration \(CUDA error: operation not supported\); use eager"
    ):
        GraphEngine([]).capture(cuda.iteration)
    assert cuda.current is cuda.default


@pytest.mark.parametrize("fault", [torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt(), TypeError("x")])
def test_a_capture_hides_no_error_that_is_not_its_own(cuda: Cuda, fault: BaseException) -> None:
    with pytest.raises(type(fault)) as caught:
        captured_with(cuda, fault)
    assert caught.value is fault
    assert cuda.current is cuda.default


def test_memory_that_runs_out_at_a_captures_end_is_named_first(cuda: Cuda) -> None:
    cuda.instantiation = RuntimeError("CUDA error: out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        GraphEngine([]).capture(cuda.iteration)


def test_eager_execution_adds_nothing() -> None:
    outcome = Outcome({}, torch.ones(1), torch.ones(1))
    engine = Engine([])
    engine.reset()
    assert engine.execute(lambda: outcome) is outcome
    assert not engine.capturable


def test_auto_is_graph_on_one_gpu_and_eager_elsewhere() -> None:
    cuda, ranks = torch.device("cuda"), World(0, 2)
    assert pick_engine("auto", cuda, ALONE) is GraphEngine
    assert pick_engine("auto", cuda, ranks) is Engine
    assert pick_engine("auto", CPU, ALONE) is Engine
    assert pick_engine("compile", cuda, ranks) is CompileEngine
    for device, world, where in ((CPU, ALONE, "device cpu"), (cuda, ranks, "2 ranks")):
        for name in ("graph", "compiled_graph"):
            with pytest.raises(BadInputError, match=f"engine: {name} needs one GPU, but this is {where}; use auto"):
                pick_engine(name, device, world)


def test_without_a_c_plus_plus_compiler_nothing_is_compiled_for_the_cpu() -> None:
    assert pick_engine("compile", CPU, ALONE) is CompileEngine
    message = r"engine: compile needs a C\+\+ compiler, .*/nowhere/g\+\+.* or use eager$"
    settings = importlib.import_module("torch._inductor.config")
    with settings.patch({"cpp.cxx": (None, "/nowhere/g++")}), pytest.raises(BadInputError, match=message):
        pick_engine("compile", CPU, ALONE)  # as $CXX would name it
    with pytest.raises(BadInputError, match="compiled_graph needs one GPU"):
        pick_engine("compiled_graph", CPU, ALONE)
    assert pick_engine("compiled_graph", torch.device("cuda"), ALONE) is CompiledGraphEngine


CXX_FAILED = """C++ compile error

Command:
g++ x.cpp

Output:
x.cpp:3:10: fatal error: Python.h: No such file or directory
compilation terminated."""


def compiled_with(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """Differentiates a loss while torch's compiler fails by `fault`."""

    def fail(*_: object) -> None:
        raise torch._dynamo.exc.BackendCompilerFailed(fail, fault, None)

    def loss(network: nn.Module) -> tuple[Tensor, Figures]:
        value = network(torch.ones(3, 2)).mean()
        return value, {"loss": value.detach()}

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    CompileEngine([]).differentiate(nn.Linear(2, 1), loss)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CXX_FAILED, "x.cpp:3:10: fatal error: Python.h: No such file or directory"),
        ("Cannot find a working triton installation\nmore of it", "Cannot find a working triton installation"),
    ],
)
def test_a_compilation_that_fails_says_why(text: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WganError) as caught:
        compiled_with(monkeypatch, RuntimeError(text))
    assert str(caught.value) == f"training.engine: compile failed ({reason}); use eager"


def test_memory_that_runs_out_while_compiling_is_for_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="out of memory"):
        compiled_with(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))


def test_what_a_compiled_step_cannot_hold_is_refused() -> None:
    for override, message in (
        ("generator.norm=batch", "generator.norm: batch norm keeps a state, which training.engine: compile can't hold"),
        ("critic.dropout=0.1", "critic.dropout: dropout draws other numbers under training.engine: compile"),
    ):
        load_config("normal_clip", [override, "training.engine=eager"])
        for name in ("compile", "compiled_graph"):
            with pytest.raises(BadInputError, match=message.replace("compile", name)):
                load_config("normal_clip", [override, f"training.engine={name}"])
