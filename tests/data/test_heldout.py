import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgan_cli.data.heldout import apart, split
from wgan_cli.errors import BadInputError


@settings(max_examples=100, deadline=None)
@given(st.integers(4, 2000), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_split_is_of_all_samples_without_overlap(count: int, share: float) -> None:
    train, heldout = split(count, share, "x")
    assert sorted([*train, *heldout]) == list(range(count))
    assert len(heldout) == min(max(2, round(share * count)), count - 2)
    assert (np.diff(train) > 0).all()
    assert (np.diff(heldout) > 0).all()


def test_a_split_is_always_the_same_draw_and_no_end_of_the_file() -> None:
    first, again = split(1000, 0.1, "x"), split(1000, 0.1, "y")
    assert first[1].tolist() == again[1].tolist()
    assert first[1].mean() == pytest.approx(500, abs=100)
    assert first[1].tolist() != list(range(100))


def test_fewer_than_four_samples_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"^x: holds 3 samples; 2 to train on and 2 held-out ones need 4"):
        split(3, 0.1, "x")


def test_held_out_samples_of_their_own_leave_all_others_to_train_on() -> None:
    train, heldout = apart(5, 2, "y")
    assert (train.tolist(), heldout.tolist()) == ([0, 1, 2, 3, 4], [0, 1])
    with pytest.raises(BadInputError, match=r"^y: holds 1 held-out sample; at least 2 are needed"):
        apart(5, 1, "y")
