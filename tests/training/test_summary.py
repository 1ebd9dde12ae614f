"""The last lines of a run, for the person who waited for it."""

from pathlib import Path

from wgan_cli.training.summary import summary

RUN = Path("runs/my run")


def test_each_truth_stands_beside_its_floor() -> None:
    figures = {"critic/gap": 9.0, "critic/w1_low": 1.25, "truth/w1": 2.5, "truth/w1_floor": 0.5, "frechet/mnist": 7.0}
    assert list(summary(RUN, figures, 1500, 75.0)) == [
        "1,500 iterations in 01:15; pictures of samples are in runs/my run/samples",
        "truth/w1: 2.5, where a perfect generator has about 0.5",
        "frechet/mnist: 7",
        "proved: W1 is larger than 1.25, with about 95 % confidence",
        "next: `wgan sample 'runs/my run'` or `wgan evaluate 'runs/my run'`",
    ]


def test_figures_that_a_run_does_not_have_are_left_out() -> None:
    for figures in ({"critic/gap": 9.0}, {"critic/w1_low": 0.0}):  # that W1 is larger than 0 proves nothing
        assert [line.split()[0] for line in summary(RUN, figures, 1, 0.0)] == ["1", "next:"]


def test_few_held_out_samples_are_told() -> None:
    told = "truth/w1: 9 held-out samples are too few to tell good samples from fair ones"
    assert told in summary(RUN, {"truth/w1": 24.8, "truth/w1_floor": 24.9}, 1, 0.0, compared=9)
    assert len(list(summary(RUN, {"truth/w1": 2.5}, 1, 0.0, compared=100))) == 3


def test_a_folder_is_not_taken_for_an_option() -> None:
    assert list(summary(Path("-x"), {}, 1, 0.0))[-1] == "next: `wgan sample ./-x` or `wgan evaluate ./-x`"
