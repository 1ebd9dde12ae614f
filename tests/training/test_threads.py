"""The number of CPU threads of a run. Where time is not what is tested, a clock of the test's own runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.training.helpers import CPU, case, differing, leave_out_machine_code, quick
from wgan_cli.config.run_config import RunConfig
from wgan_cli.training import threads
from wgan_cli.training.distributed import ALONE
from wgan_cli.training.threads import fastest, pick_threads
from wgan_cli.training.trainer import Trainer


class Clock:
    """Seconds pass only in `iterate`: as many as `costs` says for the number of threads, or for the largest below."""

    def __init__(self, costs: dict[int, float]) -> None:
        self.now, self.costs, self.tried = 0.0, costs, list[int]()

    def perf_counter(self) -> float:
        return self.now

    def iterate(self) -> None:
        count = torch.get_num_threads()
        self.tried.append(count)
        self.now += self.costs[max(known for known in self.costs if known <= count)]


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("costs", "most", "best"),
    [
        ({1: 0.010, 2: 0.006, 4: 0.004}, 4, 4),
        ({1: 0.010, 2: 0.006, 3: 0.004}, 3, 3),
        ({1: 0.010, 2: 0.006, 4: 0.0058, 8: 0.001}, 8, 2),  # what gains little is not worth a core
        ({1: 0.003, 2: 0.0028}, 2, 1),
        ({1: 0.010, 2: 0.035}, 2, 1),  # a neighbour needs the other core
        ({1: 9.0, 2: 5.0, 4: 3.0}, 4, 4),
        ({1: 1.0}, 1, 1),
    ],
)
def test_as_many_threads_as_gain_something(
    costs: dict[int, float], most: int, best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(costs)
    monkeypatch.setattr(threads.time, "perf_counter", clock.perf_counter)
    assert fastest(clock.iterate, most, ALONE) == best
    assert max(clock.tried, default=1) <= most
    assert clock.now < max(1.0, 3 * sum(costs.values()))


def test_a_single_slow_block_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, hiccups = Clock({1: 0.010, 2: 0.006}), iter([0.5, 0.0, 0.1])

    def iterate() -> None:
        clock.iterate()
        clock.now += next(hiccups, 0.0)

    monkeypatch.setattr(threads.time, "perf_counter", clock.perf_counter)
    assert fastest(iterate, 2, ALONE) == 2


def spread(mnist: Path, tmp_path: Path) -> dict[str, Callable[[], RunConfig]]:
    """Configs whose trainers have state of every sort: averages, batch norm, dropout, power iterations, streams."""
    rows = tmp_path / "rows.csv"
    rows.write_text("x,y\n" + "\n".join(f"{i},{i * i % 7}" for i in range(40)))
    table = (f"data={{kind: arrays, path: {rows}, resident: false}}", "condition={kind: columns, names: [y]}")
    return {
        "conv": lambda: case("conv", "{kind: gp, weight: 10.0}", mnist, "generator.norm=batch"),
        "dropout": lambda: quick("normal_gp", "generator.dropout=0.2"),
        "spectral": lambda: quick("normal_gp", "lipschitz={kind: spectral}", "training.average=0.9"),
        "streamed": lambda: quick("normal_gp", *table),
        "compile": lambda: case("mlp", "{kind: clip, bound: 0.05}", mnist, "training.engine=compile"),
    }


@pytest.mark.parametrize("name", ["conv", "dropout", "spectral", "streamed", "compile"])
def test_the_trainer_stays_as_it_was(
    name: str, made_up_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_machine_code(monkeypatch)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    config = spread(made_up_mnist, tmp_path)[name]()
    timed, fresh = Trainer(config, CPU), Trainer(config, CPU)
    torch.set_num_threads(2)
    dropout = torch.get_rng_state()  # torch's own stream, which all trainers of a process share
    assert pick_threads(timed) in (1, 2)
    assert torch.equal(torch.get_rng_state(), dropout)
    assert torch.get_num_threads() == 2
    assert timed.step == 0
    assert not differing(timed.state_dict(), fresh.state_dict())
    torch.set_num_threads(1)
    for trainer in (timed, fresh):
        torch.set_rng_state(dropout)
        for _ in range(3):
            trainer.iterate()
    assert timed.step == 3
    assert not differing(timed.state_dict(), fresh.state_dict())


@pytest.mark.parametrize(
    ("variable", "previous", "own", "expected"), [("8", 2, 5, 5), (None, 3, 5, 3), (None, None, 1, 1)]
)
def test_what_is_given_is_not_timed(
    variable: str | None, previous: int | None, own: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "fastest", None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    torch.set_num_threads(own)  # as torch has read the variable when it was imported
    assert pick_threads(Trainer(quick(), CPU), previous) == expected
