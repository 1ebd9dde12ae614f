import sys
from pathlib import Path

import torch

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))
from bench import CASES, case_of  # noqa: E402
from counts import CountedLaunches, compiled_launches, launches  # noqa: E402

from wgan_cli.config.load import load_config  # noqa: E402

sys.path.remove(str(SCRIPTS))


def test_what_computes_or_copies_is_launched_and_views_are_not() -> None:
    x = torch.ones(2, 3)
    with CountedLaunches() as counted:
        y = x.view(3, 2).T.detach() + 1  # one
        torch.empty(3).copy_(x[0])  # two
        y.mul_(2).sum()  # four
    assert counted.total == 4


def test_each_critic_step_launches_as_many() -> None:
    small = ["training.batch_size=8", "generator.hidden=[4]", "critic.hidden=[4]"]
    one, two, four = (launches(load_config("normal_gp", [*small, f"training.n_critic={n}"])) for n in (1, 2, 4))
    assert four - two == 2 * (two - one) > 0


def test_compiled_losses_launch_fewer() -> None:
    """The products of both networks in six steps are among them, so there are 50 at least."""
    config = load_config("normal_gp", ["training.batch_size=8", "generator.hidden=[4]", "critic.hidden=[4]"])
    assert 50 < compiled_launches(config) < 0.7 * launches(config)


def test_a_case_may_be_any_shipped_config() -> None:
    assert case_of("ring_gp") == ("ring_gp", ())
    assert case_of("mnist_gp mlp") == CASES["mnist_gp mlp"]
