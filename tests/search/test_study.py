import json
from contextlib import ExitStack
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402

from tests.search.helpers import tiny_space  # noqa: E402
from wgan_cli.errors import BadInputError  # noqa: E402
from wgan_cli.search.study import Search, _MendingLock, mend  # noqa: E402


def opened(folder: Path, trials: int = 4, *, resume: bool = True) -> Search:
    folder.mkdir(exist_ok=True)
    space = tiny_space(folder.parent)
    Search.begin(folder, space, resume=resume)
    return Search(folder, space, trials)


def test_no_two_ask_for_the_same_trial_and_all_together_for_so_many(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "s"), opened(tmp_path / "s")
    with ExitStack() as held:
        claims = [search.claim(held) for search in (one, other, one, other)]
        assert [claim.run.name for claim in claims if claim] == [f"trial-{number:04d}" for number in range(4)]
        assert one.claim(held) is other.claim(held) is None
        assert len({str(claim.values) for claim in claims if claim}) == 4
    assert one.unfinished == 4


def test_a_trial_without_its_process_is_taken_over_with_its_values(tmp_path: Path) -> None:
    with ExitStack() as held:
        lost = opened(tmp_path / "s").claim(held)
    assert lost is not None
    with ExitStack() as held:
        found = opened(tmp_path / "s").claim(held)
        assert found is not None
        assert (found.run, found.values) == (lost.run, lost.values)
        new = opened(tmp_path / "s").claim(held)
        assert new is not None
        assert new.run.name == "trial-0001"


def test_a_search_that_goes_on_asks_for_what_it_would_have_asked_for(tmp_path: Path) -> None:
    def values(folder: Path, *, anew: bool) -> list[str]:
        search, found = opened(folder, 6), []
        for number in range(6):
            search = opened(folder, 6) if anew else search
            with ExitStack() as held:
                claim = search.claim(held)
                assert claim is not None
                found.append(str(claim.values))
                search.tell(claim.trial, float(number), TrialState.COMPLETE)
        return found

    assert values(tmp_path / "a", anew=False) == values(tmp_path / "b", anew=True)


def test_the_best_is_the_smallest_or_the_largest(tmp_path: Path) -> None:
    for direction, best in (("minimise", 1), ("maximise", 2)):
        folder = tmp_path / direction
        space = tiny_space(tmp_path, ("objective: truth/w1", f"objective: truth/w1\ndirection: {direction}"))
        Search.begin(folder, space, resume=False)
        search = Search(folder, space, 5)
        assert search.best() is None
        values = {}
        for number, objective in enumerate((3.0, 1.0, 5.0)):
            with ExitStack() as held:
                claim = search.claim(held)
                assert claim is not None
                values[number] = claim.values
                search.tell(claim.trial, objective, TrialState.COMPLETE)
        with ExitStack() as held:
            claim = search.claim(held)
            assert claim is not None
            search.tell(claim.trial, None, TrialState.FAIL)
        assert search.best() == (folder / f"trial-000{best}", f"truth/w1 {best if best == 1 else 5}", values[best])
        assert (len(search.ended), search.unfinished) == (4, 1)


def test_the_key_that_alone_matters_is_the_important_one(tmp_path: Path) -> None:
    search = opened(tmp_path / "s", 30)
    assert search.importances() == {}
    for _ in range(30):
        with ExitStack() as held:
            claim = search.claim(held)
            assert claim is not None
            search.tell(claim.trial, 1000 * claim.values[("optimizer", "generator", "lr")], TrialState.COMPLETE)
    shares = search.importances()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["optimizer.generator.lr"] > 0.8


@pytest.mark.parametrize("torn", ['{"op_code":5,', "\x00\x00", '{"op_code": 4}', "x" * 9000])
def test_a_torn_line_is_cut_off_before_the_next_is_written(tmp_path: Path, torn: str) -> None:
    search = opened(tmp_path / "s")
    with ExitStack() as held:
        search.claim(held)
    journal = tmp_path / "s" / "journal.log"
    before = journal.read_bytes()
    journal.write_bytes(before + torn.encode())
    with ExitStack() as held:
        again = opened(tmp_path / "s")
        assert [claim.run.name for claim in (again.claim(held), again.claim(held)) if claim] == [
            "trial-0000",
            "trial-0001",
        ]
    content = journal.read_bytes()
    assert content.startswith(before)
    assert all(json.loads(line) for line in content.splitlines())


class Clock:
    """Time for Optuna's locks, a second a look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        assert self.now < 1000, "it waits without end"
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("is_moved", [False, True])
def test_the_lock_of_a_killed_process_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    """Also in a folder that is relative, or was moved since."""
    monkeypatch.chdir(tmp_path)
    opened(Path("s"))
    _MendingLock(Path("s") / "journal.log").acquire()
    folder = Path("s").rename("moved") if is_moved else Path("s")
    monkeypatch.setattr("optuna.storages.journal._file.time", Clock())
    with ExitStack() as held:
        assert opened(folder).claim(held) is not None


@pytest.mark.parametrize(("content", "kept"), [(b"", b""), (b"a\nb\n", b"a\nb\n"), (b"a\nb", b"a\n"), (b"torn", b"")])
def test_what_follows_the_last_line_is_cut_off(tmp_path: Path, content: bytes, kept: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    mend(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == kept


def test_a_folder_that_is_not_free_is_refused(tmp_path: Path) -> None:
    space = tiny_space(tmp_path)
    with pytest.raises(BadInputError, match="is not empty, and holds no search"):
        Search.begin(tmp_path, space, resume=True)
    opened(tmp_path / "s")
    with pytest.raises(BadInputError, match="holds a search; --resume goes on with it"):
        Search.begin(tmp_path / "s", space, resume=False)
    other = tiny_space(tmp_path, ("high: 3", "high: 4"))
    with pytest.raises(BadInputError, match="has another space, in space; name another folder"):
        Search.begin(tmp_path / "s", other, resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInputError, match="--out"):
        Search.begin(tmp_path / "file", space, resume=True)
