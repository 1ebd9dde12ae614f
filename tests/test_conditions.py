import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import wgan_cli as wgan
from tests.helpers import next_batch
from wgan_cli.conditions import Classes, Columns, ConditionalDataset, GivenColumns, Labels, generator_inputs
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import Arrays, Mnist
from wgan_cli.data.base import WHOLE
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.errors import BadInputError
from wgan_cli.lipschitz import GradientPenalty, Unbounded
from wgan_cli.lipschitz.base import at_condition
from wgan_cli.lipschitz.estimate import estimate, largest_slope, mean_score
from wgan_cli.networks import Latent
from wgan_cli.objectives import Wasserstein
from wgan_cli.training.steps import Steps
from wgan_cli.training.trainer import Trainer

CPU = torch.device("cpu")
NAMES = ("energy", "angle", "hits", "flag")


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def table(count: int = 60) -> Any:
    """Rows of which one real column, one bounded one, a whole one, and one that is 3 in a quarter of the rows."""
    rng = np.random.default_rng(0)
    columns = (rng.normal(50, 9, count), rng.uniform(-1, 1, count), rng.integers(0, 90, count))
    return np.stack([*columns, np.where(np.arange(count) % 4, 7, 3)], 1)


def write_csv(path: Path, values: Any) -> Path:
    np.savetxt(path, values, delimiter=",", header=",".join(NAMES), comments="", fmt="%.17g")
    return path


def tabular(path: Path, *given: str, **fields: Any) -> tuple[Columns, Arrays, ConditionalDataset]:
    spec = Arrays.model_validate({"path": str(path), **fields}).resolved()
    columns = Columns(names=given)
    columns.check(spec)
    return columns, spec, columns.attach(spec.load(CPU), spec)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "x.csv", table())


@pytest.fixture(params=[True, False], ids=["resident", "streamed"])
def labelled(request: pytest.FixtureRequest) -> ConditionalDataset:
    """Samples (i, 0) of class i % 10, but for class 9, of which there are none; held-out ones are (1000 + i, 0)."""
    numbers = torch.tensor([i for i in range(100) if i % 10 != 9], dtype=torch.float32)
    samples = torch.stack([numbers, torch.zeros(90)], 1)
    store = Store.of(samples)
    if not request.param:
        store = Store(lambda chosen: samples[chosen], 90, CPU, is_resident=False)
    others = torch.stack([torch.arange(1000.0, 1030), torch.zeros(30)], 1)
    labels, other_labels = (values[:, 0].long() % 10 for values in (samples, others))
    inner = FiniteDataset(store, "data.x", Store.of(others), labels, other_labels)
    return Labels().attach(inner, Mnist())


# Classes


def test_a_class_is_a_one_hot_vector_of_its_number() -> None:
    classes = Classes(("cat", "dog", "7"), torch.tensor([0.5, 0.25, 0.25]))
    assert classes.encode(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert [classes.number(name) for name in ("cat", "dog", "7", "0", "1")] == [0, 1, 2, 0, 1]
    for name in ("cow", "3", "-1", "", "1.5"):
        with pytest.raises(BadInputError, match=rf"class {name}: unknown; the run's classes are cat, dog, 7$"):
            classes.number(name)


def test_seeds_ask_for_classes_as_often_as_the_data_has_them() -> None:
    shares = torch.tensor([0.5, 0.0, 0.2, 0.3, 0.0])
    drawn = Classes(tuple("abcde"), shares).for_seeds(range(4000)).sum(0)
    assert drawn[[1, 4]].tolist() == [0, 0]
    assert stats.chisquare(drawn[[0, 2, 3]].numpy(), (4000 * shares[[0, 2, 3]]).numpy()).pvalue > 1e-3


def test_a_seed_asks_for_the_same_whatever_is_drawn_beside_it_and_unlike_its_latent(csv: Path) -> None:
    _, _, dataset = tabular(csv, "energy", "hits")
    for conditions in (Classes(tuple("abcd"), torch.full((4,), 0.25)), dataset.conditions):
        whole = conditions.for_seeds(range(200))
        assert torch.equal(conditions.for_seeds([7, 3, 150]), whole[[7, 3, 150]])
        assert whole.unique(dim=0).shape[0] > 3
        assert conditions.for_seeds([]).shape == (0, whole.shape[1])
        latents = Latent(dim=3).from_seeds(range(200))
        assert np.abs(np.corrcoef(latents.T, whole.T)[:3, 3:]).max() < 0.25


def test_generator_inputs_are_latents_and_conditions() -> None:
    latent, classes = Latent(dim=3), Classes(("a", "b"), torch.tensor([0.5, 0.5]))
    seeds = [4, 9, 2]
    inputs = generator_inputs(latent, classes, seeds)
    assert torch.equal(inputs[:, :3], latent.from_seeds(seeds))
    assert torch.equal(inputs[:, 3:], classes.for_seeds(seeds))
    assert torch.equal(generator_inputs(latent, None, seeds), latent.from_seeds(seeds))


def test_every_sample_keeps_its_own_class(labelled: ConditionalDataset) -> None:
    batches = labelled.batches(16, stream())
    for _ in range(12):
        batches.draw(2)
        for number in range(2):
            samples, condition = batches.take(number), batches.condition(number)
            assert condition is not None
            assert torch.equal(condition.argmax(1), samples[:, 0].long() % 10)
            assert condition.sum(1).tolist() == [1] * 16
    for heldout in (False, True):
        samples, condition = labelled.pairs(25, stream(), heldout=heldout)
        assert torch.equal(condition.argmax(1), samples[:, 0].long() % 10)
        assert bool((samples[:, 0] >= 1000).all()) == heldout


def test_conditions_do_not_change_the_order_of_batches_nor_their_state(labelled: ConditionalDataset) -> None:
    plain, paired = labelled.inner.batches(16, stream()), labelled.batches(16, stream())
    for _ in range(8):
        assert torch.equal(next_batch(plain), next_batch(paired))
    state = paired.state_dict()
    assert {key: str(value) for key, value in plain.state_dict().items()} == {k: str(v) for k, v in state.items()}
    paired.draw(2)
    expected = [(paired.take(i).clone(), paired.condition(i)) for i in range(2)]
    other = labelled.batches(16, stream(99))
    other.load_state_dict(state)
    other.draw(2)
    for number, (samples, condition) in enumerate(expected):
        assert torch.equal(other.take(number), samples)
        assert torch.equal(other.condition(number), condition)  # type: ignore[arg-type]


def test_ranks_share_samples_and_conditions_alike(labelled: ConditionalDataset) -> None:
    whole = labelled.batches(16, stream(), WHOLE)
    shares = [labelled.batches(16, stream(), share) for share in (slice(0, 8), slice(8, 16))]
    for _ in range(12):
        for batches in (whole, *shares):
            batches.draw(1)
        assert torch.equal(torch.cat([share.take(0) for share in shares]), whole.take(0))
        assert torch.equal(torch.cat([share.condition(0) for share in shares]), whole.condition(0))  # type: ignore


def test_shares_are_those_of_the_training_data_and_rare_classes_are_told(
    labelled: ConditionalDataset, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(labelled.conditions, Classes)
    assert labelled.conditions.shares.tolist() == pytest.approx([1 / 9] * 9 + [0])
    samples = torch.zeros(5, 1)
    labels = torch.tensor([0, 0, 1, 2, 2])
    inner = FiniteDataset(Store.of(samples), "data.x", None, labels)
    caplog.clear()
    Labels().attach(inner, Mnist())
    (message,) = caplog.messages
    assert message == "condition: classes with at most one sample to train on: 1, 3, 4, 5, 6, 7, 8, 9"


def test_the_truth_sees_whether_samples_fit_what_was_given(tmp_path: Path) -> None:
    given = np.random.default_rng(0).normal(size=(1000, 1))
    write_csv(tmp_path / "x.csv", np.hstack([given, 3 * given, given, given]))
    config = load_config(
        "normal_gp",
        [f"data={{kind: arrays, path: {tmp_path / 'x.csv'}}}", "condition={kind: columns, names: [energy]}"],
    )
    dataset = config.load_data(CPU)
    assert isinstance(dataset, ConditionalDataset)
    samples, condition = dataset.pairs(50, stream(), heldout=False)
    fitting, others = (
        dataset.truth(config.joined(chosen, condition))["truth/w1"] for chosen in (samples, samples.roll(1, 0))
    )
    assert others > 2 * fitting


def test_the_held_out_samples_are_those_without_conditions(labelled: ConditionalDataset, csv: Path) -> None:
    inner = labelled.inner
    assert torch.equal(labelled.real(9, stream(), heldout=True), inner.real(9, stream(), heldout=True))
    assert torch.equal(labelled.heldout(), inner.heldout())  # type: ignore[arg-type]
    samples = torch.randn(15, 2)
    assert labelled.truth(samples) == inner.truth(samples)
    _, _, dataset = tabular(csv, "angle")
    whole = dataset.whole(6, stream(), heldout=True)
    assert torch.equal(dataset.real(6, stream(), heldout=True), whole[:, [0, 2, 3]])
    pairs = dataset.heldout_pairs(6)
    assert pairs is not None
    assert pairs[1] is not None
    assert torch.equal(torch.cat(pairs, 1), dataset.whole(6, stream(), heldout=True)[:, [0, 2, 3, 1]])  # type: ignore


# Columns


@pytest.mark.parametrize("count", [1, 2, 3])
def test_given_and_generated_columns_make_the_whole_row_again(csv: Path, count: int) -> None:
    for given in itertools.permutations(NAMES, count):
        columns, spec, dataset = tabular(csv, *given)
        rows = dataset.inner.at(torch.arange(20), heldout=False)
        samples = dataset.samples_of(rows)
        condition = dataset.conditions_of(rows, torch.arange(20), heldout=False)
        assert samples.shape == (20, *columns.sample_shape(spec))
        assert condition.shape == (20, columns.width(spec))
        assert torch.equal(condition[:, 0], rows[:, NAMES.index(given[0])])
        assert torch.equal(columns.joined(samples, condition, spec), rows)


@pytest.mark.parametrize("dtype", ["<f8", "<f4"])
@pytest.mark.parametrize("scale", ["standardise", "minmax", "none"])
def test_a_table_holds_the_given_values_exactly(tmp_path: Path, dtype: str, scale: str) -> None:
    np.save(tmp_path / "x.npy", table().astype(dtype))
    columns, spec, dataset = tabular(tmp_path / "x.npy", "hits", "energy", columns=NAMES, scale=scale)
    given = dataset.conditions
    assert isinstance(given, GivenColumns)
    asked = torch.tensor([[12, 0.1], [3, 1 / 3], [89, 51.123456789], [0, -1e4]], dtype=torch.float64)
    joined = columns.joined(torch.randn(4, 2), given.encode(asked), spec)
    values = spec.decoded(joined, dataset.state_dict())
    assert values.dtype == np.dtype(dtype)
    assert values[:, 2].tolist() == [12, 3, 89, 0]
    if dtype == "<f4":
        assert values[:, 0].tolist() == asked[:, 1].float().tolist()
    else:
        assert values[:, 0] == pytest.approx(asked[:, 1].numpy(), rel=1e-14)


def test_seeds_ask_for_rows_of_the_data_as_often_as_it_has_them(csv: Path) -> None:
    columns, spec, dataset = tabular(csv, "flag", "hits")
    given = dataset.conditions.for_seeds(range(2000))
    values = spec.decoded(columns.joined(torch.zeros(2000, 2), given, spec), dataset.state_dict())
    assert set(map(tuple, values[:, [3, 2]])) <= set(map(tuple, table()[:, [3, 2]]))
    train = dataset.inner.at(torch.arange(54), heldout=False)
    share = (train[:, 3] < 0).double().mean().item()
    assert (values[:, 3] == 3).mean() == pytest.approx(share, abs=0.04)


def test_ranges_are_those_of_all_the_data(csv: Path) -> None:
    values = table()
    for given in (("hits", "angle"), ("energy",)):
        conditions = tabular(csv, *given)[2].conditions
        assert isinstance(conditions, GivenColumns)
        expected = [[values[:, NAMES.index(name)].min(), values[:, NAMES.index(name)].max()] for name in given]
        assert conditions.ranges == expected


@pytest.mark.parametrize("kind", ["labels", "columns"])
def test_conditions_are_kept_in_plain_containers(labelled: ConditionalDataset, csv: Path, kind: str) -> None:
    spec = Labels() if kind == "labels" else Columns(names=("hits",))
    dataset = labelled if kind == "labels" else tabular(csv, "hits")[2]
    state = dataset.state_dict()["condition"]
    assert {type(value) for value in state.values()} <= {list, Tensor}
    kept = spec.load(state)
    assert torch.equal(kept.for_seeds(range(50)), dataset.conditions.for_seeds(range(50)))
    assert str(kept.state_dict()) == str(state)


@pytest.mark.parametrize(
    ("data", "condition", "message"),
    [
        ("{kind: normal}", "{kind: labels}", "normal has no classes here"),
        ("{kind: points}", "{kind: labels}", "points has no classes here"),
        ("{kind: arrays, path: X}", "{kind: labels}", "arrays has no classes here"),
        ("{kind: normal}", "{kind: columns, names: [a]}", "columns need names: a .csv with a header"),
        (
            "{kind: arrays, path: X}",
            "{kind: columns, names: [mass]}",
            "there is no column mass; the columns are energy",
        ),
        ("{kind: arrays, path: X}", "{kind: columns, names: [flag, hits, angle, energy]}", "none is left to generate"),
        ("{kind: arrays, path: X}", "{kind: columns, names: [hits, hits]}", "names a column twice"),
        ("{kind: arrays, path: X}", "{kind: columns, names: []}", "condition.names: must have 1 items, but is []"),
        ("{kind: arrays, path: X}", "{kind: columns}", "condition.names: is missing"),
        ("{kind: arrays, path: X}", "{kind: label}", "condition.kind: unknown: label; did you mean labels? Allowed: "),
        ("{kind: arrays, path: X}", "{names: [hits]}", "condition: kind is missing; allowed: labels, columns"),
        ("{kind: mnist}", "{kind: labels, names: [hits]}", "condition.names: unknown key; allowed: kind"),
    ],
)
def test_a_condition_that_the_data_does_not_have_is_refused(csv: Path, data: str, condition: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        load_config("normal_gp", [f"data={data.replace('X', str(csv))}", f"condition={condition}"])
    assert message in str(caught.value)


# Training


class Bilinear(nn.Module):
    """critic(x, c) = c · x, and generator(z) = z + shift: everything about them is known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        shifted = samples + self.shift
        return shifted if condition is None else (shifted * condition).sum(1)


def test_points_between_a_pair_keep_its_condition() -> None:
    real, fake, condition = (torch.randn(32, 3, generator=stream(seed)) for seed in range(3))
    penalty = GradientPenalty(weight=2.0)
    noise = penalty.noise(32, (3,), stream())
    found = penalty.penalty(at_condition(Bilinear(3), condition), real, fake, noise)
    expected = 2 * (condition.norm(dim=1) - 1).square().mean()  # the slope at sample i is ‖c_i‖
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    steepest = largest_slope(Bilinear(3), real, fake, condition)
    assert steepest.item() == pytest.approx(condition.norm(dim=1).max().item(), rel=1e-5)


@pytest.mark.parametrize("mixes", [False, True])
def test_gap_and_loss_are_of_pairs(mixes: bool) -> None:
    real, fake, condition = (torch.randn(32, 3, generator=stream(seed)) for seed in range(3))
    steps = Steps(Wasserstein(), Unbounded(), critic_mixes_samples=mixes)
    loss, parts = steps.critic_loss(Bilinear(3), real, fake, (), condition)
    figures = steps.critic_figures(parts)
    expected = (real * condition).sum(1).mean() - (fake * condition).sum(1).mean()
    assert figures["critic/gap"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.item() == pytest.approx(-expected.item(), rel=1e-5)
    found = estimate(Bilinear(3), real, fake, condition)
    assert found.gap == pytest.approx(expected.item(), rel=1e-5)
    assert mean_score(Bilinear(3), real, condition, batch_size=5).item() == pytest.approx(
        (real * condition).sum(1).mean().item(), rel=1e-5
    )


def test_the_generators_step_follows_the_slope_at_its_own_conditions() -> None:
    inputs, condition = (torch.randn(32, 3, generator=stream(seed)) for seed in range(2))
    generator, critic = Bilinear(3), Bilinear(3)
    steps = Steps(Wasserstein(), Unbounded())
    steps.generator_step(generator, critic, torch.optim.SGD(generator.parameters(), 1.0), inputs, condition)
    assert generator.shift.tolist() == pytest.approx(condition.mean(0).tolist(), abs=1e-6)  # minus the loss's gradient
    assert critic.shift.grad is None


def trained_on(csv: Path, *more: str) -> RunConfig:
    tiny = ("generator.hidden=[8]", "critic.hidden=[8]", "training.batch_size=8", "training.n_critic=3", "latent.dim=2")
    columns = ("condition={kind: columns, names: [flag, angle]}", f"data={{kind: arrays, path: {csv}}}")
    return load_config("normal_gp", [*tiny, *columns, "training.iterations=4", *more])


def test_each_step_of_an_iteration_has_the_conditions_of_its_own_batch(
    csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(trained_on(csv), CPU)
    steps: list[tuple[str, Tensor, Tensor]] = []
    critic_step, generator_step = Steps.critic_step, Steps.generator_step

    def noted_critic_step(self: Steps, critic: Any, optimizer: Any, real: Tensor, fake: Tensor, *rest: Any) -> Any:
        steps.append(("critic", real.clone(), rest[1].clone()))
        return critic_step(self, critic, optimizer, real, fake, *rest)

    def noted_generator_step(self: Steps, generator: Any, critic: Any, optimizer: Any, *rest: Any) -> Any:
        steps.append(("generator", rest[0].clone(), rest[1].clone()))
        return generator_step(self, generator, critic, optimizer, *rest)

    monkeypatch.setattr(Steps, "critic_step", noted_critic_step)
    monkeypatch.setattr(Steps, "generator_step", noted_generator_step)
    trainer.iterate()
    trainer.iterate()
    assert [name for name, _, _ in steps] == (["critic"] * 3 + ["generator"]) * 2
    replayed = Trainer(trained_on(csv), CPU).batches
    for name, given, condition in steps:
        batch = next_batch(replayed)
        assert torch.equal(condition, replayed.condition(0))  # type: ignore[arg-type]
        if name == "critic":
            assert torch.equal(given, batch)
        else:
            assert torch.equal(given[:, 2:], condition)


def test_a_generator_learns_what_depends_on_a_given_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 2000)
    np.savetxt(
        tmp_path / "x.csv", np.stack([x, 5 * x + rng.normal(0, 0.3, 2000)], 1), delimiter=",", header="x,y", comments=""
    )
    quick = ("training.iterations=250", "training.batch_size=64", "generator.hidden=[32]", "critic.hidden=[32]")
    config = load_config(
        "normal_gp",
        [
            *quick,
            "latent.dim=2",
            f"data={{kind: arrays, path: {tmp_path / 'x.csv'}}}",
            "condition={kind: columns, names: [x]}",
            "optimizer.generator={kind: adam, lr: 2.0e-3, betas: [0.5, 0.9]}",
            "optimizer.critic={kind: adam, lr: 2.0e-3, betas: [0.5, 0.9]}",
            "output.sample_every=250",
            "output.checkpoint_every=250",
        ],
    )
    run = wgan.load_run(wgan.train(config, tmp_path / "run", device="cpu"), device="cpu")
    given = run.conditions
    assert isinstance(given, GivenColumns)
    asked = torch.linspace(-1, 1, 400, dtype=torch.float64)[:, None]
    table = run.decode(run.sample(range(400), given.encode(asked)))
    assert table[:, 0] == pytest.approx(asked[:, 0].numpy(), abs=1e-12)
    assert np.corrcoef(table.T)[0, 1] > 0.9
    slope, intercept = np.polyfit(table[:, 0], table[:, 1], 1)
    assert slope == pytest.approx(5, abs=1)
    assert intercept == pytest.approx(0, abs=0.7)


def test_a_generator_learns_its_classes(tmp_path: Path) -> None:
    from tests.data.pictures import COLOURS, write_folder

    folder = write_folder(tmp_path / "x", 60, COLOURS)
    config = load_config(
        "mnist_mlp_gp",
        [
            f"data={{kind: images, path: {folder}, size: 4}}",
            "condition={kind: labels}",
            *("generator.hidden=[32]", "critic.hidden=[32]", "training.iterations=150", "training.average=0.9"),
            *("training.batch_size=32", "latent.dim=4", "output.sample_every=150", "output.checkpoint_every=150"),
            "optimizer.generator={kind: adam, lr: 2.0e-3, betas: [0.5, 0.9]}",
            "optimizer.critic={kind: adam, lr: 2.0e-3, betas: [0.5, 0.9]}",
        ],
    )
    run = wgan.load_run(wgan.train(config, tmp_path / "run", device="cpu"), device="cpu")
    classes = run.conditions
    assert isinstance(classes, Classes)
    known = torch.tensor([COLOURS[name] for name in classes.names], dtype=torch.float64)
    for number in range(3):
        asked = classes.encode(torch.full((50,), number))
        colours = torch.from_numpy(run.decode(run.sample(range(50), asked))).double().mean((1, 2))
        assert (torch.cdist(colours, known).argmin(1) == number).double().mean() > 0.95


def test_a_run_without_rare_classes_says_nothing(
    labelled: ConditionalDataset, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    caplog.set_level(logging.INFO)
    samples, labels = torch.zeros(20, 1), torch.arange(20) % 10
    Labels().attach(FiniteDataset(Store.of(samples), "data.x", None, labels), Mnist())
    assert caplog.messages == []
