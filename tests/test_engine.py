"""Every engine computes what the plain eager step does. Graphs need a GPU: here, what they capture is checked."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wgan_cli import engine
from wgan_cli.config import RunConfig, load_config
from wgan_cli.distributed import World
from wgan_cli.engine import Graph, pick_engine, pick_threads, tune_process
from wgan_cli.errors import BadInputError
from wgan_cli.trainer import Trainer

CPU = torch.device("cpu")
SMALL = ("training.batch_size=8", "training.n_critic=2", "training.average=0.9", "latent.dim=4")
STRATEGIES = ("{kind: gp, weight: 10.0}", "{kind: gp, weight: 1.0, sided: one}", "{kind: clip, bound: 0.05}")
CASES = [(network, strategy) for network in ("mlp", "conv") for strategy in STRATEGIES]


def config(network: str, strategy: str, mnist: Path, *more: str) -> RunConfig:
    images = ("generator.width=4", "critic.width=2", f"data.root={mnist}", "data.checksums=false")
    plain = ("generator.hidden=[8]", "critic.hidden=[8]", "critic.norm=layer")
    name = "mnist_gp" if network == "conv" else "normal_gp"
    changes = images if network == "conv" else plain
    return load_config(name, [*SMALL, *changes, f"lipschitz={strategy}", *more])


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def weights(trainer: Trainer) -> Tensor:
    return torch.cat(
        [value.detach().double().flatten() for net in trainer.networks.values() for value in net.parameters()]
    )


def apart(one: Trainer, other: Trainer, iterations: int = 20) -> float:
    """The relative distance of all weights after so many iterations."""
    for _ in range(iterations):
        one.iterate()
        other.iterate()
    return ((weights(one) - weights(other)).norm() / weights(one).norm()).item()


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(("network", "strategy"), CASES)
def test_compiled_steps_are_eager_steps(network: str, strategy: str, made_up_mnist: Path) -> None:
    eager = Trainer(config(network, strategy, made_up_mnist), CPU)
    compiled = Trainer(config(network, strategy, made_up_mnist, "training.engine=compile"), CPU)
    before = weights(eager)
    assert apart(eager, compiled) < 1e-10
    assert (weights(eager) - before).norm() > 0.01 * before.norm()  # they did move


def test_compiled_steps_are_near_eager_ones_in_float32(made_up_mnist: Path) -> None:
    eager, compiled = (
        Trainer(config("conv", STRATEGIES[0], made_up_mnist, f"training.engine={name}"), CPU)
        for name in ("eager", "compile")
    )
    assert apart(eager, compiled) < 1e-4


class FakeGraph:
    """A CUDA graph's behaviour on the CPU: what is captured is run at each replay, into the same tensors."""

    def __init__(self, iteration: object, streams: object) -> None:
        self._iteration, self._outcome = iteration, None

    def __call__(self) -> engine.Outcome:
        figures, real, fake = self._iteration()  # type: ignore[operator]
        if self._outcome is None:
            self._outcome = figures, real, fake
        for name, value in figures.items():
            self._outcome[0][name].copy_(value)
        self._outcome[1].copy_(real)
        self._outcome[2].copy_(fake)
        return self._outcome


@pytest.mark.parametrize(("network", "strategy"), CASES)
def test_what_a_graph_holds_stays_in_its_place(
    network: str, strategy: str, made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph reads and writes the memory it was captured with: nothing may move from iteration to iteration."""
    monkeypatch.setattr("wgan_cli.trainer.Graph", FakeGraph)
    monkeypatch.setattr("wgan_cli.trainer.pick_engine", lambda *_: "graph")
    rmsprop = "{kind: rmsprop, lr: 1.0e-3, decay: linear}"
    clips = (f"optimizer={{generator: {rmsprop}, critic: {rmsprop}}}",) if "clip" in strategy else ()
    asked = config(network, strategy, made_up_mnist, *clips, "training.iterations=8")
    # torch refuses capturable optimizers of tensors on the CPU: their learning rate is a tensor all the same.
    monkeypatch.setattr(
        "wgan_cli.optimizers.OptimizerSpec._first_rate", lambda self, _, __: torch.tensor(self.lr, dtype=torch.float32)
    )
    for kind in ("Adam", "RmsProp"):
        build = getattr(__import__("wgan_cli.optimizers", fromlist=[kind]), kind).build
        monkeypatch.setattr(
            f"wgan_cli.optimizers.{kind}.build", lambda self, parameters, _, build=build: build(self, parameters, False)
        )
    trainer = Trainer(asked, CPU)

    def places() -> dict[str, int]:
        held = {f"weight {i}": p for i, net in enumerate(trainer.networks.values()) for p in net.parameters()}
        found = {f"{name} {id(tensor)}": tensor.data_ptr() for name, tensor in held.items()}
        for name, optimizer in trainer.optimizers.items():
            found[f"{name} rate"] = optimizer.param_groups[0]["lr"].data_ptr()
            for i, state in enumerate(optimizer.state.values()):
                found |= {f"{name} {i} {key}": value.data_ptr() for key, value in state.items()}
        if network == "conv":
            found["drawn"] = trainer.batches._drawn.data_ptr()  # type: ignore[attr-defined]
        return found

    trainer.iterate()
    before = places()
    rates = {trainer.optimizers["critic"].param_groups[0]["lr"].item() for _ in range(7) if trainer.iterate()}
    assert places() == before
    assert len(rates) == 7  # it decays in place
    held = trainer._execute
    trainer.load_state_dict({**trainer.state_dict(), "step": trainer.step})
    assert trainer._execute is not held  # moments were replaced: what was captured is of no use any more


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("network", "strategy"), CASES)
def test_bfloat16_is_for_the_networks_alone(network: str, strategy: str, precision: str, made_up_mnist: Path) -> None:
    trainer = Trainer(config(network, strategy, made_up_mnist, f"training.precision={precision}"), CPU)
    seen = set()
    trainer.critic.register_forward_hook(lambda *args: seen.add(args[2].dtype))
    figures, real, fake = trainer.iterate()
    expected = {torch.float32} if precision == "float32" else {torch.bfloat16}
    if "gp" in strategy:
        expected = expected | {torch.float32}  # the penalty's own pass
    assert seen == expected
    assert {value.dtype for value in (*figures.values(), real, fake, *trainer.critic.parameters())} == {torch.float32}
    assert all(value.isfinite() for value in figures.values())


def test_bfloat16_trains_like_float32(made_up_mnist: Path) -> None:
    exact, rough = (
        Trainer(config("conv", STRATEGIES[0], made_up_mnist, f"training.precision={name}"), CPU)
        for name in ("float32", "bfloat16")
    )
    assert 0 < apart(exact, rough) < 0.2


def test_real_and_fake_pass_together_only_where_scores_do_not_depend_on_each_other() -> None:
    for norm, passes in (("none", 1), ("layer", 1), ("batch", 2)):
        trainer = Trainer(load_config("normal_clip", [*SMALL, f"critic.norm={norm}", "training.n_critic=1"]), CPU)
        seen = []
        trainer.critic.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(len(inputs[0])))
        trainer.iterate()
        assert seen == [16 // passes] * passes + [8]  # the last: the generator's step


def test_auto_is_graph_on_one_gpu_and_eager_elsewhere() -> None:
    cuda, ranks = torch.device("cuda"), World(0, 2)
    assert pick_engine("auto", cuda, World()) == "graph"
    assert pick_engine("auto", cuda, ranks) == "eager"
    assert pick_engine("auto", CPU, World()) == "eager"
    assert pick_engine("compile", cuda, ranks) == "compile"
    for device, world, where in ((CPU, World(), "device cpu"), (cuda, ranks, "2 ranks")):
        with pytest.raises(BadInputError, match=f"graph needs one GPU, but this is {where}; use auto"):
            pick_engine("graph", device, world)


def test_threads_leave_room_for_a_busy_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    large = engine.SMALL_WORK
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(engine, "_busy_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert (pick_threads(large), pick_threads(large - 1)) == (5, 1)
    assert pick_threads(large, before=8) == 8  # a run that goes on
    monkeypatch.setattr(engine, "_busy_cores", lambda: 12)
    assert pick_threads(large) == 1
    monkeypatch.setattr("os.cpu_count", lambda: 64)  # this process has its own eight of 64
    assert pick_threads(large) == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert pick_threads(1, before=2) == 8


def test_a_system_without_mallopt_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    tune_process("highest", 1)
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)  # not even looked for
    tune_process("highest", 1)
    assert torch.get_num_threads() == 1


def test_products_are_as_exact_as_asked_for() -> None:
    try:
        for asked in ("high", "medium", "highest"):
            tune_process(asked, 1)
            assert torch.get_float32_matmul_precision() == asked
            assert torch.backends.cudnn.allow_tf32 == (asked != "highest")
    finally:
        tune_process("highest", 1)


def test_a_graph_is_captured_after_its_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    graph = Graph(lambda: ({}, torch.ones(1), torch.ones(1)), [])
    monkeypatch.setattr(graph, "_aside", lambda: calls.append("aside"))

    class Captured:
        def replay(self) -> None:
            calls.append("replay")

    monkeypatch.setattr(graph, "_capture", lambda: (calls.append("capture"), (Captured(), "outcome"))[1])
    outcomes = [graph() for _ in range(5)]
    assert calls == ["aside"] * 3 + ["capture", "replay", "replay"]
    assert outcomes[3:] == ["outcome", "outcome"]


def test_what_a_compiled_step_cannot_hold_is_refused() -> None:
    for override, message in (
        ("generator.norm=batch", "generator.norm: batch norm keeps a state, which training.engine: compile can't hold"),
        ("critic.dropout=0.1", "critic.dropout: dropout draws other numbers under training.engine: compile"),
    ):
        load_config("normal_clip", [override, "training.engine=eager"])
        with pytest.raises(BadInputError, match=message):
            load_config("normal_clip", [override, "training.engine=compile"])
