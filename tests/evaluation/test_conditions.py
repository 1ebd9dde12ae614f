import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import wgan_cli as package
from tests.conftest import Wgan
from wgan_cli.conditions import GivenColumns
from wgan_cli.config.load import load_config
from wgan_cli.evaluation.bins import BINS, bin_distances, class_distances
from wgan_cli.evaluation.figures import asked_class_share


def columns(*names: str) -> GivenColumns:
    width = len(names)
    return GivenColumns(names, torch.zeros(1, width), torch.zeros(width), torch.ones(width), [[0.0, 1.0]] * width)


def spread(count: int, seed: int = 0) -> Tensor:
    """Numbers (count, 1) that fill [0, 1) evenly, in random order."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return (torch.arange(count, dtype=torch.float64)[order] / count)[:, None]


def test_the_distance_within_each_tenth_is_that_of_a_shift() -> None:
    condition = torch.cat([spread(200), spread(200, 1)])
    real, other = condition[:200] * 100, condition[200:] * 100
    shift = torch.where(condition[:200] < 0.5, 3.0, 7.0)
    figures = bin_distances(columns("c"), real + shift, real, other, condition)
    for number in range(BINS):
        assert figures[f"condition/c/{number}/samples"] == 20
        assert figures[f"condition/c/{number}/w1"] == pytest.approx(3 if number < 5 else 7, rel=1e-6)
        assert figures[f"condition/c/{number}/w1_floor"] == pytest.approx(0, abs=1e-6)  # the same conditions again


def test_every_sample_is_in_one_bin_of_each_column() -> None:
    condition = torch.rand(600, 2, generator=torch.Generator().manual_seed(0))
    real, other = torch.randn(300, 1), torch.randn(300, 1)
    figures = bin_distances(columns("a", "b"), real, real, other, condition)
    for name in ("a", "b"):
        counts = [figures[f"condition/{name}/{number}/samples"] for number in range(BINS)]
        assert sum(counts) == 300
        assert set(counts) == {30}
        assert all(figures[f"condition/{name}/{number}/w1"] == pytest.approx(0, abs=1e-6) for number in range(BINS))


def test_the_log_tells_the_ends_of_the_bins_and_which_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wgan")
    given = GivenColumns(("energy",), torch.zeros(1, 1), torch.tensor([50.0]), torch.tensor([100.0]), [[50.0, 150.0]])
    real = torch.randn(40, 1)
    bin_distances(given, real, real, real, torch.linspace(0, 1, 80, dtype=torch.float64)[:, None])
    assert "condition/energy/0 to 9 lie between 50, 54.9" in caplog.text
    first = torch.cat([torch.linspace(0, 1, 40), torch.full((40,), 0.05)]).double()[:, None]
    bin_distances(given, real, real, real, first)  # of the others, all are in one tenth
    assert "1, 2, 3, 4, 5, 6, 7, 8, 9 left out, with too few real samples" in caplog.text


@pytest.mark.parametrize("values", [2, 3, BINS])
def test_a_column_of_few_values_has_a_bin_for_each(values: int, caplog: pytest.LogCaptureFixture) -> None:
    """Most samples have the first one: of tenths, several would be that value, and others none."""
    caplog.set_level(logging.INFO, "wgan")
    value = torch.where(torch.arange(200) % 2 == 0, 0, torch.arange(200) // 2 % values)
    real = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    spread = GivenColumns(("code",), torch.zeros(1, 1), torch.tensor([1.0]), torch.tensor([2.0]), [[0.0, 9.0]])
    figures = bin_distances(spread, real + 1, real, real, (value.double()[:, None] - 1) / 2)
    counts = [figures[f"condition/code/{number}/samples"] for number in range(values)]
    assert counts == value[:100].bincount(minlength=values).tolist()
    assert [figures[f"condition/code/{number}/w1"] for number in range(values)] == pytest.approx([1] * values, rel=1e-6)
    assert f"condition/code/{values}/samples" not in figures
    told = ", ".join(map(str, range(values)))
    assert caplog.messages == [f"condition/code/0 to {values - 1} are of the values {told}"]


def test_wrong_conditions_are_seen_where_all_samples_together_look_right() -> None:
    """A generator that ignores its condition has the right law of all samples, but not that of any tenth."""
    condition = torch.cat([spread(200), spread(200, 1)])
    real, other = condition[:200] * 10, condition[200:] * 10
    figures = bin_distances(columns("c"), real.flip(0), real, other, condition)
    assert all(figures[f"condition/c/{number}/w1"] > 1 for number in range(BINS))


def test_the_share_of_samples_of_the_class_asked_for() -> None:
    found, real = torch.tensor([0, 1, 2, 3, 0, 0, 0, 0]), torch.tensor([0, 1, 2, 3, 1, 2, 0, 0])
    asked = torch.eye(4)[torch.tensor([0, 1, 2, 3, 1, 2, 0, 3])]
    shares = {"condition/accuracy": 5 / 8, "condition/accuracy_floor": 7 / 8}
    figures = asked_class_share(lambda samples: samples, found, real, asked)
    assert {name: value for name, value in figures.items() if "_ci_" not in name} == shares
    assert figures["condition/accuracy_ci_low"] < 5 / 8 < figures["condition/accuracy_ci_high"]
    assert asked_class_share(lambda samples: samples, found, real, None) == {}


def test_a_run_with_given_columns_is_measured_bin_by_bin(tmp_path: Path, wgan: Wgan) -> None:
    x = np.random.default_rng(0).uniform(size=400)
    np.savetxt(tmp_path / "x.csv", np.stack([x, 2 * x], 1), delimiter=",", header="x,y", comments="")
    config = load_config(
        "normal_gp",
        [
            f"data={{kind: arrays, path: {tmp_path / 'x.csv'}, heldout: 0.5}}",
            "condition={kind: columns, names: [x]}",
            *("generator.hidden=[4]", "critic.hidden=[4]", "training.iterations=2", "training.batch_size=4"),
        ],
    )
    run = package.train(config, tmp_path / "run", device="cpu")
    done = wgan("evaluate", "--ckpt", run, "--num=100", "--json", "--device=cpu")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert sum(figures[f"condition/x/{number}/samples"] for number in range(BINS)) == 100
    for number in range(BINS):
        assert figures[f"condition/x/{number}/w1"] > figures[f"condition/x/{number}/w1_floor"]  # it learned nothing yet
    assert json.loads((run / "evaluation.json").read_text()) == figures


def test_the_distance_within_each_class_is_that_of_its_shift(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wgan")
    number = torch.arange(120) % 3
    number[0] = 3  # one sample alone
    condition = torch.nn.functional.one_hot(torch.cat([number, number]), 4).float()
    real = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    fake = real + torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 0.0]])[number]
    figures = class_distances(["a", "b", "c", "d"], fake, real, real, condition)
    for name, distance, count in (("a", 0, 39), ("b", 3, 40), ("c", 5, 40)):
        assert figures[f"condition/{name}/w1"] == pytest.approx(distance, abs=1e-5)
        assert figures[f"condition/{name}/w1_floor"] == pytest.approx(0, abs=1e-6)
        assert figures[f"condition/{name}/samples"] == count
    assert "condition/d/w1" not in figures
    assert "condition/: d left out, with too few real samples" in caplog.text
