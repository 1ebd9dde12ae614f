import mmap
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.data.pictures import write_folder
from tests.helpers import next_batch
from wgan_cli.data import Arrays, Images
from wgan_cli.data.base import WHOLE, Batches
from wgan_cli.data.finite import Store
from wgan_cli.data.mapped import read_together
from wgan_cli.data.streamed import AHEAD, StreamedPasses

CPU = torch.device("cpu")
SAMPLES = torch.arange(23 * 6, dtype=torch.float32).reshape(23, 2, 3)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batches(resident: bool, generator: torch.Generator, share: slice = WHOLE, size: int = 4) -> Batches:
    store = Store.of(SAMPLES) if resident else Store(lambda chosen: SAMPLES[chosen], 23, CPU, is_resident=False)
    return store.batches(size, generator, share)


def taken(of: Batches, draws: list[int]) -> list[tuple[Tensor, Tensor]]:
    """Batches and their indices, drawn so many at a time."""
    found = []
    for count in draws:
        of.draw(count)
        found += [(of.take(number).clone(), of.chosen(number).clone()) for number in range(count)]
    return found


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, sum(one, ()), sum(other, ())))


@pytest.mark.parametrize("share", [WHOLE, slice(0, 2), slice(2, 4), slice(1, 2)])
@pytest.mark.parametrize("draws", [[1] * 17, [3] * 9, [2, 2, 2, 2, 2, 2, 2, 2]])
def test_streamed_batches_are_resident_ones(share: slice, draws: list[int]) -> None:
    one, other = stream(), stream()
    resident, streamed = batches(True, one, share), batches(False, other, share)
    for count in draws:  # several passes of 23 samples
        assert same(taken(resident, [count]), taken(streamed, [count]))
        assert torch.equal(one.get_state(), other.get_state())
        assert resident.state_dict()["position"] == streamed.state_dict()["position"]
        assert torch.equal(resident.state_dict()["pass"], streamed.state_dict()["pass"])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 23),
    st.integers(1, 3),
    st.integers(0, 12),
    st.booleans(),
    st.booleans(),
)
def test_a_stream_goes_on_from_any_position(
    size: int, count: int, before: int, from_resident: bool, into: bool
) -> None:
    generator = stream(5)
    first = batches(from_resident, generator, size=size)
    taken(first, [count] * before)
    state, generator_state = first.state_dict(), generator.get_state()
    expected = taken(first, [count] * 6)
    other = stream(99)
    resumed = batches(into, other, size=size)
    taken(resumed, [count])  # has gathered ahead by now
    if before:
        other.set_state(generator_state)  # as `Streams` does, before the batches
    resumed.load_state_dict(state)
    assert same(taken(resumed, [count] * 6), expected)
    assert torch.equal(other.get_state(), generator.get_state())


def test_gathering_ahead_does_not_change_the_state() -> None:
    gathered: list[int] = []
    enough = threading.Event()

    def gather(chosen: Tensor) -> Tensor:
        gathered.append(len(chosen))
        if len(gathered) >= 1 + (AHEAD + 1) * 2:
            enough.set()
        return SAMPLES[chosen]

    generator = stream()
    streamed = StreamedPasses(gather, 23, 4, generator, WHOLE)
    streamed.draw(2)
    state, generator_state = streamed.state_dict(), generator.get_state()
    assert enough.wait(10)  # two iterations of two batches are there, beside the one that was drawn
    assert streamed.state_dict()["position"] == state["position"] == 8
    assert torch.equal(streamed.state_dict()["pass"], state["pass"])
    assert torch.equal(generator.get_state(), generator_state)


def test_batches_are_gathered_on_another_thread_two_iterations_ahead() -> None:
    threads: list[str] = []

    def gather(chosen: Tensor) -> Tensor:
        threads.append(threading.current_thread().name)
        return SAMPLES[chosen]

    streamed = StreamedPasses(gather, 23, 4, stream(), WHOLE)
    streamed.draw(1)
    streamed.draw(1)
    streamed.draw(1)
    assert len(threads) >= 1 + 3  # the first tells the shape
    assert len(threads) <= 1 + 3 + AHEAD
    assert {name.startswith("data") for name in threads[1:]} == {True}


def test_a_batch_stays_where_it_is_so_that_a_graph_can_read_it() -> None:
    streamed = batches(False, stream())
    streamed.draw(2)
    places = [streamed.take(number).data_ptr() for number in range(2)]
    for _ in range(20):
        streamed.draw(2)
    assert [streamed.take(number).data_ptr() for number in range(2)] == places


@pytest.mark.parametrize("resident", [True, False])
def test_a_pass_takes_each_sample_once(resident: bool) -> None:
    of = batches(resident, stream())
    chosen = torch.cat([indices for _, indices in taken(of, [1] * 5)])  # 23 samples: the last 3 are dropped
    assert chosen.unique().numel() == 20
    samples = torch.cat([batch for batch, _ in taken(of, [5])])
    assert samples.unique(dim=0).shape == (20, 2, 3)


@pytest.mark.parametrize("resident", [True, False])
def test_ranks_share_a_batch(resident: bool) -> None:
    whole = taken(batches(True, stream()), [1] * 12)
    shares = [taken(batches(resident, stream(), share), [1] * 12) for share in (slice(0, 1), slice(1, 4))]
    joined = [tuple(torch.cat(parts) for parts in zip(*both, strict=True)) for both in zip(*shares, strict=True)]
    assert same(whole, joined)  # type: ignore[arg-type]


def test_a_failure_of_the_thread_is_raised_where_the_batch_is_drawn() -> None:
    calls: list[int] = []

    def gather(chosen: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 5:
            raise OSError("the disk is gone")
        return SAMPLES[chosen]

    streamed = StreamedPasses(gather, 23, 4, stream(), WHOLE)
    with pytest.raises(OSError, match="the disk is gone"):
        [streamed.draw(1) for _ in range(6)]


def is_read_at_random(path: Path) -> bool:
    """Whether the system was told so of its mapping in this process: the flag `rr` of Linux."""
    mappings = Path("/proc/self/smaps").read_text().split("VmFlags:")
    return any(str(path) in before and " rr" in after.splitlines()[0] for before, after in pairwise(mappings))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells how memory is read")
@pytest.mark.parametrize("kind", ["arrays", "images"])
@pytest.mark.parametrize("resident", [False, True])
def test_no_neighbours_are_read_of_streamed_samples(kind: str, resident: bool, tmp_path: Path) -> None:
    """Of a file of four times the memory, that left a thirtieth of the speed."""
    if kind == "arrays":
        np.save(tmp_path / "x.npy", np.zeros((100, 3000), np.float32))
        spec = Arrays.model_validate({"path": str(tmp_path / "x.npy"), "resident": resident}).resolved()
    else:
        write_folder(tmp_path / "pictures", 40, ("red", "green"))
        spec = Images.model_validate({"path": str(tmp_path / "pictures"), "size": 32, "resident": resident}).resolved()
    dataset = spec.load(torch.device("cpu"))
    assert is_read_at_random(tmp_path) != resident
    assert len(next_batch(dataset.batches(4, torch.Generator()))) == 4


class Asked(mmap.mmap):
    """A mapping that keeps what was asked of it."""

    calls: list[tuple[int, int, int]]

    def madvise(self, option: int, start: int = 0, length: int | None = None) -> None:
        assert length is not None
        super().madvise(option, start, length)
        self.calls.append((option, start, length))


@pytest.mark.skipif(not hasattr(mmap.mmap, "madvise"), reason="this system takes no advice")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 3000), st.sampled_from([0, 128, 640]), st.lists(st.integers(0, 49), max_size=8))
def test_rows_are_asked_for_at_once_and_no_others(tmp_path: Path, columns: int, header: int, rows: list[int]) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(header + 4 * 50 * columns))
    with path.open("rb") as file:
        mapping = Asked(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapping.calls = []
    array = np.ndarray((50, columns), np.float32, mapping, header)
    read_together(array, np.array(rows, np.int64))
    assert len(mapping.calls) == len(rows)
    for row, (option, start, length) in zip(rows, mapping.calls, strict=True):
        begin, end = header + 4 * row * columns, header + 4 * (row + 1) * columns
        assert option == mmap.MADV_WILLNEED
        assert start % mmap.PAGESIZE == 0
        assert begin - mmap.PAGESIZE < start <= begin
        assert start + length == end


@pytest.mark.skipif(not hasattr(mmap.mmap, "madvise"), reason="this system takes no advice")
def test_rows_that_are_in_memory_or_not_in_one_piece_are_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(4 * 6))
    with (tmp_path / "x.bin").open("rb") as file:
        mapping = Asked(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapping.calls = []
    array = np.ndarray((3, 2), np.float32, mapping)
    for other in (array.copy(), np.ndarray((3, 2), np.float32, mapping, order="F")):
        read_together(other, np.array([0, 2]))
    assert mapping.calls == []
    read_together(array, np.array([0, 2]))
    assert len(mapping.calls) == 2


@pytest.mark.parametrize("kind", ["arrays", "images"])
def test_a_streamed_batch_is_read_together(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row after another, that left half of the speed on a file of four times the memory."""
    asked: list[list[int]] = []
    for module in ("array_files", "images"):
        monkeypatch.setattr(f"wgan_cli.data.{module}.read_together", lambda _, rows: asked.append(rows.tolist()))
    if kind == "arrays":
        np.save(tmp_path / "a.npy", np.arange(20, dtype=np.float32))
        np.save(tmp_path / "b.npy", np.arange(20, 40, dtype=np.float32))
        fields = {"path": (str(tmp_path / "a.npy"), str(tmp_path / "b.npy")), "scale": "none"}
        spec = Arrays.model_validate({**fields, "resident": False}).resolved()
    else:
        write_folder(tmp_path / "pictures", 40, ("red", "green"))
        spec = Images.model_validate({"path": str(tmp_path / "pictures"), "size": 32, "resident": False}).resolved()
    batches = spec.load(torch.device("cpu")).batches(8, torch.Generator())
    asked.clear()
    batch = next_batch(batches)
    if kind == "arrays":
        rows = [int(value) for value in batch.flatten()]
        assert asked[:2] == [[row for row in rows if row < 20], [row - 20 for row in rows if row >= 20]]
    else:
        assert len(asked[0]) == 8
