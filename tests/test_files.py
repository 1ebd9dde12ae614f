import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import Timeout

from wgan_cli.errors import BadInputError
from wgan_cli.files import Creations, creations, is_aside, load_plain, locked, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def touched(path: Path) -> Path:
    path.touch()
    return path


# --- made and taken back -----------------------------------------------------------------------------------


def test_what_was_made_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    made = Creations()
    assert made.folder(tmp_path / "mine" / "a" / "b") == tmp_path / "mine" / "a" / "b"
    made.new_folder(tmp_path / "c")
    made.note(touched(tmp_path / "c" / "file"))
    assert names(tmp_path) == ["c", "c/file", "mine", "mine/a", "mine/a/b"]
    made.take_back()
    assert names(tmp_path) == ["mine"]


def test_what_was_there_before_is_never_taken_back(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    made = Creations()
    made.folder(tmp_path / "folder")
    made.take_back()
    assert names(tmp_path) == ["folder"]


def test_what_others_use_by_now_stays(tmp_path: Path) -> None:
    made = Creations()
    for name in ("filled", "replaced", "link"):
        made.folder(tmp_path / name)
    for name in ("written", "exchanged"):
        made.note(touched(tmp_path / name))
    (tmp_path / "filled" / "theirs").touch()
    (tmp_path / "written").write_text("theirs")
    (tmp_path / "their folder").mkdir()
    (tmp_path / "their folder").rename(tmp_path / "replaced")
    (tmp_path / "their file").touch()
    (tmp_path / "their file").rename(tmp_path / "exchanged")
    (tmp_path / "link").rmdir()
    (tmp_path / "link").symlink_to("replaced")
    made.take_back()
    assert names(tmp_path) == ["exchanged", "filled", "filled/theirs", "link", "replaced", "written"]


def test_what_is_kept_is_not_taken_back(tmp_path: Path) -> None:
    made = Creations()
    made.folder(tmp_path / "kept")
    made.keep()
    made.folder(tmp_path / "later")
    made.take_back()
    assert names(tmp_path) == ["kept"]


def test_a_new_folder_is_refused_where_something_is(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Creations().new_folder(tmp_path)


@pytest.mark.parametrize("place", ["file", "file/below", "link to nowhere"])
def test_a_folder_is_refused_where_a_file_is(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link to nowhere").symlink_to("nowhere")
    before = names(tmp_path)
    with pytest.raises(NotADirectoryError):
        Creations().folder(tmp_path / place)
    assert names(tmp_path) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_takes_back_what_the_context_made(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with creations() as made:
            made.folder(tmp_path / "a" / "b")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []
    with creations() as made:
        made.folder(tmp_path / "a")
    assert names(tmp_path) == ["a"]


# --- locked ------------------------------------------------------------------------------------------------


def test_a_lock_is_held_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    code = "import sys; from filelock import FileLock; FileLock(sys.argv[1]).acquire(timeout=0)"
    other = [sys.executable, "-c", code, path]
    with locked(path, Creations()):
        with pytest.raises(Timeout), locked(path, Creations(), timeout=0):
            pytest.fail("held twice")
        assert b"Timeout" in subprocess.run(other, capture_output=True).stderr
    assert subprocess.run(other, capture_output=True).returncode == 0
    with locked(path, Creations(), timeout=0):  # free again
        pass


def test_a_failed_holder_takes_back_its_lock_file_and_a_refused_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, Creations()):
        with pytest.raises(Timeout), creations() as made, locked(path, made, timeout=0):
            pytest.fail("held twice")
        assert path.is_file()

    path.unlink()
    with pytest.raises(ZeroDivisionError), creations() as made, locked(path, made):
        raise ZeroDivisionError
    assert not path.exists()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path) -> None:
    code = (
        "import errno, fcntl, sys\n"
        "from pathlib import Path\n"
        "def flock(*_): raise OSError(errno.ENOSYS, 'Function not implemented')\n"
        "fcntl.flock = flock\n"
        "from wgan_cli.files import Creations, is_lock_file, locked\n"
        "for _ in range(2):\n"
        "    with locked(Path(sys.argv[1]), Creations(), timeout=0):\n"
        "        print(is_lock_file(Path(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / ".lock"], capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.parametrize("mine", ["a file", "a link", "a folder"])
def test_a_users_own_file_is_no_lock(tmp_path: Path, mine: str) -> None:
    path = tmp_path / ".lock"
    if mine == "a file":
        path.write_text("mine")
    elif mine == "a link":
        path.symlink_to("precious")
    else:
        path.mkdir()
    before = names(tmp_path)
    with pytest.raises(FileExistsError, match="no lock file"), locked(path, Creations()):
        pytest.fail("held")
    assert names(tmp_path) == before
    assert mine != "a file" or path.read_text() == "mine"


# --- written whole or not at all ---------------------------------------------------------------------------


def test_a_write_replaces_the_old_file(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert names(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_killed_write_leaves_the_old_file_and_one_that_is_known_as_unfinished(tmp_path: Path) -> None:
    write_atomically(tmp_path / "status.json", b"old")
    process = os.fork()
    if process == 0:
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        try:
            write_atomically(tmp_path / "status.json", b"new")
        finally:
            os._exit(1)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL
    assert (tmp_path / "status.json").read_bytes() == b"old"
    (unfinished,) = (path for path in tmp_path.iterdir() if path.name != "status.json")
    assert is_aside(unfinished)


def test_only_unfinished_files_are_known_as_such(tmp_path: Path) -> None:
    written = ["config.yaml", "environment.json", "status.json", "metrics.jsonl", "evaluation.json"]
    written += ["mlflow.id", "wandb.id", "000001000.png", "000001000.pt", "best.pt"]
    unfinished = [".config.yaml.77.tmp"]  # of version 0.1
    unfinished += [f".{name}.77-0123abcd.tmp" for name in written]
    others = [
        ".notes.tmp",
        ".notes.1.tmp",
        ".draft.12.tmp",
        "config.yaml.77.tmp",
        ".config.yaml.77-0123abcd",
        ".config.yaml.77-xyz.tmp",
    ]
    for name in (*unfinished, *others):
        (tmp_path / name).touch()
    (tmp_path / ".folder.77.tmp").mkdir()
    (tmp_path / ".link.77.tmp").symlink_to(unfinished[0])
    assert sorted(path.name for path in tmp_path.iterdir() if is_aside(path)) == sorted(unfinished)


# --- read without running code -----------------------------------------------------------------------------


def test_plain_containers_and_tensors_are_read(tmp_path: Path) -> None:
    content = {"weights": torch.arange(3), "nested": [1, "two", {"three": (3.0, None)}]}
    torch.save(content, tmp_path / "x.pt")
    read = load_plain(tmp_path / "x.pt")
    assert read["nested"] == content["nested"]
    assert torch.equal(read["weights"], content["weights"])
    assert load_plain(Path("elsewhere"), (tmp_path / "x.pt").read_bytes())["nested"] == content["nested"]


class Villain:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("pwned",))


def test_code_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Villain()}, "x.pt")
    with pytest.raises(BadInputError, match=r"x\.pt: refused: .* may carry code"):
        load_plain(Path("x.pt"))
    assert names(tmp_path) == ["x.pt"]


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(BadInputError, match=r"x\.pt: can't be read \(No such file"):
        load_plain(path)
    torch.save({"weights": torch.arange(1000)}, path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(torch.arange(1000).numpy().tobytes())] ^= 1  # in the weights themselves
    for damaged, message in (
        (whole[:-100], "truncated"),
        (b"junk", "truncated"),
        (bytes(flipped), "checksum of a part"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(BadInputError, match=message):
            load_plain(path)
