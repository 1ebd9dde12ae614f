import json
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from scipy import stats

from tests.conftest import Wgan
from wgan_cli import distances
from wgan_cli.distances import CriticFit, Question, answer, read_points
from wgan_cli.errors import BadInputError
from wgan_cli.lipschitz import Clip, GradientPenalty
from wgan_cli.models import MlpCritic
from wgan_cli.optimizers import RmsProp


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(count: int, features: int, seed: int) -> torch.Tensor:
    return torch.randn(count, features, generator=stream(seed), dtype=torch.float64)


VALUES = np.array([[1.0, 2.0], [3.0, 4.5], [-1.0, 0.0]])


def save(path: Path) -> Path:
    if path.suffix == ".npy":
        np.save(path, VALUES)
    elif path.suffix == ".npz":
        np.savez(path, samples=VALUES, seeds=np.arange(3))
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(VALUES), path)
    else:
        path.write_text("first,second\n" + "\n".join(",".join(map(str, row)) for row in VALUES))
    return path


@pytest.mark.parametrize("ending", [".npy", ".npz", ".pt", ".csv"])
def test_each_kind_of_file_gives_the_same_points(tmp_path: Path, ending: str) -> None:
    points = read_points(str(save(tmp_path / f"x{ending}")), 10, stream())
    assert points.dtype == torch.float64
    assert points.tolist() == VALUES.tolist()


def test_images_of_bytes_are_scaled_and_flattened(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", samples=np.array([0, 255, 51], dtype=np.uint8).reshape(3, 1, 1, 1))
    assert read_points(str(tmp_path / "x.npz"), 10, stream()).flatten().tolist() == pytest.approx([-1, 1, -0.6])


def test_at_most_so_many_are_drawn_without_replacement(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(100.0))
    drawn = read_points(str(tmp_path / "x.npy"), 30, stream())
    assert drawn.shape == (30, 1)
    assert drawn.unique().numel() == 30


def test_real_mnist_by_name(real_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGAN_DATA", str(real_mnist))
    assert read_points("mnist:test", 7, stream()).shape == (7, 784)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "is none of"),
        ("mnist:both", None, "is none of"),
        ("nothing.npy", None, "no such file"),
        ("x.npy", b"", "can't be read as .npy"),
        ("x.npy", b"\x93NUMPY\x01\x00", "can't be read as .npy"),
        ("x.npz", b"PK", "can't be read as .npz"),
        ("x.pt", b"junk", "x.pt"),
        ("x.csv", b"a,b\n1,2\n3", "can't be read as .csv"),
        ("x.csv", b"a,b\n", "holds no samples"),
        ("x.csv", b"1,nan\n", "not finite"),
        ("x.csv", b"1,2\n3,word\n", "can't be read as .csv"),
    ],
)
def test_bad_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        read_points(name, 10, stream())
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInputError, match="can't be read"):
        read_points(str(tmp_path / "x.npy"), 10, stream())


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_exact_and_1d_agree_with_scipy_and_pot(p: float) -> None:
    x, y = normal(40, 1, 0), normal(30, 1, 1) * 2 + 1
    expected = ot.wasserstein_1d(x[:, 0].numpy(), y[:, 0].numpy(), p=p) ** (1 / p)
    for method in ("exact", "1d"):
        assert answer(Question(x, y, p=p), method).figures[f"w{p:g}"] == pytest.approx(expected, rel=1e-9)
    if p == 1:
        assert expected == pytest.approx(stats.wasserstein_distance(x[:, 0], y[:, 0]))


def test_a_shift_is_its_length_by_every_method_that_measures_w1_or_w2() -> None:
    x = normal(64, 3, 0)
    shift = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64)
    asked = Question(x, x + shift)
    assert answer(asked, "exact").figures["w1"] == pytest.approx(2)
    assert answer(asked, "gaussian").figures["gaussian_w2"] == pytest.approx(2)
    assert answer(asked, "gaussian").figures["gaussian_w2_squared"] == pytest.approx(4)
    found = answer(Question(x, x + shift, p=2, epsilon=0.01), "sinkhorn")
    assert found.figures["sinkhorn_cost"] == pytest.approx(4, abs=0.01)
    assert found.figures["sinkhorn_divergence"] == pytest.approx(4, abs=0.01)
    assert found.figures["converged"] is True


def test_plans_have_the_sets_as_their_margins() -> None:
    x, y = normal(12, 2, 0), normal(9, 2, 1)
    for method in distances.WITH_PLAN:
        plan = answer(Question(x, y), method).plan
        assert plan is not None
        torch.testing.assert_close(plan.sum(1), torch.full((12,), 1 / 12, dtype=torch.float64), atol=1e-5, rtol=0)
        torch.testing.assert_close(plan.sum(0), torch.full((9,), 1 / 9, dtype=torch.float64), atol=1e-5, rtol=0)


QUICK = {"steps": 400, "batch_size": 128, "critic": MlpCritic(hidden=(32, 32))}


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_critics_estimate_is_near_the_truth_and_from_below(scale: float) -> None:
    x, y = normal(2000, 2, 0) * scale, normal(2000, 2, 1) * scale
    y[:, 0] += 3 * scale
    found = answer(Question(x, y, fit=CriticFit(**QUICK)), "critic").figures
    truth = answer(Question(x, y), "exact").figures["w1"]
    assert 0.85 * truth < found["w1_estimate"] < 1.01 * truth
    assert found["gap"] == pytest.approx(found["w1_estimate"] * found["lipschitz"])


def test_the_estimate_is_of_w1_whatever_the_clip_bound_did() -> None:
    x, y = normal(1000, 1, 0), normal(1000, 1, 1) + 3
    estimates = []
    for bound in (0.01, 0.05):
        fit = CriticFit(**QUICK, lipschitz=Clip(bound=bound), optimizer=RmsProp(lr=bound / 20))
        found = answer(Question(x, y, fit=fit), "critic").figures
        estimates.append(found["w1_estimate"])
        assert found["gap"] != pytest.approx(found["w1_estimate"], rel=0.2)  # the raw gap is a matter of the bound
    assert all(1.5 < estimate < 3.1 for estimate in estimates)


def test_a_small_spread_lets_a_clipped_critic_be_straight() -> None:
    x, y = normal(1000, 1, 0), normal(1000, 1, 1) + 3
    truth = answer(Question(x, y), "1d").figures["w1"]
    ratios = {}
    for spread in (0.3, 1.0):
        fit = CriticFit(**QUICK, lipschitz=Clip(bound=0.1), optimizer=RmsProp(lr=2e-3, decay="linear"), spread=spread)
        ratios[spread] = answer(Question(x, y, fit=fit), "critic").figures["w1_estimate"] / truth
    assert ratios[1.0] < 0.85 < 0.9 < ratios[0.3] <= 1.001


def test_what_does_not_fit_is_told() -> None:
    for asked, method, message in (
        (Question(normal(4, 2, 0), normal(4, 3, 0)), "exact", "have 2 values and those of B 3"),
        (Question(normal(4, 2, 0), normal(4, 2, 0)), "best", "unknown; allowed: exact"),
        (Question(normal(4, 2, 0), normal(4, 2, 0)), "1d", "have 2 values, not one"),
        (Question(normal(1, 2, 0), normal(4, 2, 0)), "gaussian", "at least 2 samples"),
        (Question(normal(4, 2, 0), normal(4, 2, 0), epsilon=-1.0), "sinkhorn", "epsilon"),
    ):
        with pytest.raises(BadInputError, match=message):
            answer(asked, method)


def test_the_command_prints_figures_json_and_a_picture(wgan: Wgan) -> None:
    np.save("a.npy", normal(20, 2, 0).numpy())
    np.save("b.npy", normal(20, 2, 1).numpy() + 1)
    plain = wgan("distance", "a.npy", "b.npy")
    told = json.loads(wgan("distance", "a.npy", "b.npy", "--json", "--plot", "plan.png").out)
    assert told["samples"] == [20, 20]
    assert f"{told['w1']:.6g}" in plain.out.splitlines()[-1].split()
    assert Path("plan.png").read_bytes().startswith(b"\x89PNG")
    Path("critic.yaml").write_text("critic: {kind: mlp, hidden: [16]}\nsteps: 20\nbatch_size: 8\n")
    found = json.loads(wgan("distance", "a.npy", "b.npy", "--method=critic", "--config=critic.yaml", "--json").out)
    assert found["w1_estimate"] <= told["w1"] * 1.01


def test_the_commands_mistakes_are_told(wgan: Wgan) -> None:
    np.save("a.npy", normal(5, 2, 0).numpy())
    Path("critic.yaml").write_text("steps: 20\nbatchsize: 8\n")
    for more, message in (
        (("--method", "sliced", "--plot", "x.png"), "use exact or sinkhorn"),
        (("--config", "critic.yaml"), "is for --method critic"),
        (("--method", "critic", "--config", "critic.yaml"), "critic.yaml:2: batchsize: unknown key; did you mean"),
        (("--p", "0.5"), "--p"),
        (("--plot", "x.jpg"), "--plot x.jpg: must end in"),
        (("--plot", "no/x.png"), "there is no folder no"),
    ):
        result = wgan("distance", "a.npy", "a.npy", *more)
        assert (result.code, result.out) == (2, "")
        assert message in result.err
        assert not list(Path().glob("x.*"))


def test_the_heavier_penalty_is_what_makes_the_estimate_true() -> None:
    """The default weight, against the usual 10, on a pair whose critic gains by overshooting."""
    x, y = normal(4000, 1, 0), normal(4000, 1, 1) + 3
    truth = answer(Question(x, y), "1d").figures["w1"]
    errors = []
    for weight in (10.0, 1000.0):
        fit = CriticFit(**QUICK, lipschitz=GradientPenalty(weight=weight, sided="one"))
        errors.append(abs(answer(Question(x, y, fit=fit), "critic").figures["w1_estimate"] / truth - 1))
    assert errors[1] < errors[0]
    assert errors[1] < 0.1
