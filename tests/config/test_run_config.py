"""Combinations of values: which can't work, which are rarely intended, and which may change on resume."""

import pytest

from tests.config.conftest import Write
from tests.config.helpers import check_fault, faults
from wgan_cli.config.load import load_config


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        ("critic: {kind: mlp}", "critic: {kind: mlp, norm: batch}", 5, ["critic.norm: batch mixes", "layer or"]),
        (
            "critic: {kind: mlp}",
            "critic: {kind: conv}",
            5,
            ["critic.kind: conv needs series, images", "use mlp"],
        ),
        (
            "generator: {kind: mlp}",
            "generator: {kind: conv}",
            4,
            ["generator.kind: conv needs series, images"],
        ),
    ],
)
def test_each_impossible_pair_is_located(write: Write, old: str, new: str, line: int, parts: list[str]) -> None:
    check_fault(write(old=old, new=new), line, *parts)


def test_a_batch_larger_than_the_data_is_refused(good: str) -> None:
    (fault,) = faults(good, "data={kind: mnist, split: test}", "training.batch_size=10001")
    assert fault.endswith("training.batch_size: 10001 is larger than the data, which has 10000 samples")


def test_a_norm_over_one_sample_is_refused(good: str) -> None:
    batch = ("training.batch_size=1", "generator.norm=batch")
    assert faults(good, *batch)[0].endswith("training.batch_size: a norm over the batch needs at least 2 samples in it")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generator.norm=batch", "generator.norm: batch norm keeps a state, which training.engine: compile can't hold"),
        ("critic.dropout=0.1", "critic.dropout: dropout draws other numbers under training.engine: compile"),
    ],
)
def test_networks_that_an_engine_cannot_hold_are_refused(good: str, override: str, message: str) -> None:
    load_config(good, [override, "training.engine=eager"])
    (fault,) = faults(good, override, "training.engine=compile")
    assert message in fault


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.batch_size=65", "training.batch_size: 65 does not divide over 2 ranks; use 64, or fewer ranks"),
        ("training.batch_size=1", "training.batch_size: 1 does not divide over 2 ranks; use 2, or fewer ranks"),
        ("generator.norm=batch", "generator.norm: batch takes each rank's samples alone"),
        ("critic.dropout=0.1", "critic.dropout: dropout draws other numbers on each rank"),
    ],
)
def test_configs_that_ranks_cannot_share_are_refused(good: str, override: str, message: str) -> None:
    load_config(good, [override])
    (fault,) = faults(good, override, ranks=2)
    assert message in fault


def test_differences_name_the_keys_that_may_not_change(good: str) -> None:
    config = load_config(good)
    assert config.differences(load_config(good, ["training.iterations=9", "output.keep=9"])) == []
    other = load_config(good, ["seed=4", "lipschitz={kind: clip}"])
    assert config.differences(other) == sorted(
        ["seed", *(f"lipschitz.{key}" for key in ("kind", "bound", "weight", "target", "sided", "points"))]
    )


def test_the_place_of_the_data_may_change(good: str) -> None:
    here, there = (load_config(good, [f"data={{kind: mnist, root: {root}}}"]) for root in ("here", "there"))
    assert here.differences(there) == []
    assert here.differences(load_config(good, ["data={kind: mnist, root: here, split: test}"])) == ["data.split"]


def test_a_wasserstein_critic_that_nothing_bounds_is_warned_of(good: str) -> None:
    assert not list(load_config(good).warnings())
    (warning,) = load_config(good, ["lipschitz={kind: none}"]).warnings()
    assert "unbounded" in warning
    assert not list(load_config(good, ["lipschitz={kind: none}", "objective={kind: gan}"]).warnings())


def test_the_networks_fit_the_data(good: str) -> None:
    config = load_config(good, ["training.average=0.9", "data.features=3"])
    networks = config.networks()
    samples = networks.sampler(config.latent.from_seeds(range(5)))
    assert samples.shape == (5, 3)
    assert networks.critic(samples).shape == (5,)
    assert set(networks.named()) == {"generator", "critic", "averaged generator"}
