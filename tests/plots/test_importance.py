from wgan_cli.plots.importance import importance_figure


def test_the_largest_share_is_on_top() -> None:
    (axes,) = importance_figure({"a": 0.1, "b": 0.7, "c": 0.2}, "truth/w1", 9).axes
    bars = sorted(axes.patches, key=lambda bar: bar.get_y())
    assert [bar.get_width() for bar in bars] == [0.1, 0.2, 0.7]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c", "b"]
    assert axes.get_xlabel() == "share of importance for truth/w1, by 9 trials"
