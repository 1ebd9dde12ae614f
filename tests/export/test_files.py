"""`wgan export` as a user calls it."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.conftest import Wgan
from tests.test_every_kind import config_of


@pytest.fixture
def run(root: Path, tmp_path: Path, wgan: Wgan) -> Path:
    """A trained run of a table with two given columns, whose averaged weights are not the last ones."""
    return trained(wgan, root, tmp_path, "a table with given columns")


def trained(wgan: Wgan, root: Path, tmp_path: Path, case: str, *more: str) -> Path:
    (tmp_path / "c.yaml").write_text(config_of(root, case, *more, iterations=6).to_yaml())
    assert wgan("train", tmp_path / "c.yaml", "--out", tmp_path / "run", "--device", "cpu").code == 0
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def samples(wgan: Wgan, run: Path, *more: str) -> Any:
    assert wgan("sample", run, "--out", "s.npz", "--device", "cpu", *more).code == 0
    with np.load("s.npz") as file:
        return file["samples"]


def test_the_path_is_printed_and_the_run_stays_as_it_was(wgan: Wgan, run: Path) -> None:
    before = files(run)
    done = wgan("export", run, "--out", "g.pt2", "--card", "README.md")
    assert (done.code, done.out) == (0, "g.pt2\n")
    assert sorted(os.listdir()) == ["README-samples.png", "README.md", "g.pt2"]
    assert files(run) == before


def test_exported_weights_sample_as_the_run_does(wgan: Wgan, run: Path) -> None:
    pytest.importorskip("safetensors")
    assert wgan("export", "--ckpt", run, "--out", "g.safetensors").code == 0
    for more in ((), ("--given", "n=3", "--given", "x=0.25")):
        assert np.array_equal(samples(wgan, Path("g.safetensors"), *more), samples(wgan, run, *more))
    assert wgan("export", run, "--out", "raw.safetensors", "--raw").code == 0
    assert np.array_equal(samples(wgan, Path("raw.safetensors")), samples(wgan, run, "--raw"))
    assert not np.array_equal(samples(wgan, Path("raw.safetensors")), samples(wgan, run))
    assert wgan("export", "g.safetensors", "--out", "g.pt2").code == 0


def test_what_needs_the_critic_is_refused_in_one_line(wgan: Wgan, run: Path) -> None:
    pytest.importorskip("safetensors")
    wgan("export", run, "--out", "g.safetensors")
    done = wgan("evaluate", "g.safetensors", "--device", "cpu")
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert "without its critic; name the run's folder" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "g.pt"), r"--out g\.pt: must end in"),
        (("--out", "no/g.pt2"), r"--out no/g\.pt2: there is no folder no; make it first"),
        (("--out", "folder.pt2"), r"--out folder\.pt2: is a folder"),
        (("--out", "g.pt2", "--card", "card.txt"), r"--card card\.txt: must end in \.md"),
        (("--out", "g.pt2", "--card", "no/README.md"), r"--card no/README\.md: there is no folder"),
        (("--out", "g.pt2", "--card", "mine.md"), r"--card mine\.md: mine\.md exists; move it away"),
        (("--out", "g.pt2", "--card", "a.md"), r"--card a\.md: a-samples\.png exists"),
        (("--out", "g.pt2", "--best"), r"has no checkpoints/best\.pt"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    wgan: Wgan, run: Path, arguments: tuple[str, ...], message: str
) -> None:
    Path("folder.pt2").mkdir()
    Path("mine.md").write_text("mine")
    Path("a-samples.png").write_text("mine")
    (run / "checkpoints" / "best.pt").unlink(missing_ok=True)
    done = wgan("export", run, *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert re.search(message, done.err)
    assert sorted(os.listdir()) == ["a-samples.png", "folder.pt2", "mine.md"]
    assert Path("mine.md").read_text() == Path("a-samples.png").read_text() == "mine"


def test_the_file_that_is_read_is_not_written(wgan: Wgan, run: Path) -> None:
    pytest.importorskip("safetensors")
    wgan("export", run, "--out", "g.safetensors")
    before = Path("g.safetensors").read_bytes()
    done = wgan("export", "g.safetensors", "--out", "./g.safetensors")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is the file to export" in done.err
    assert Path("g.safetensors").read_bytes() == before


def test_links_in_a_circle_are_no_run(wgan: Wgan) -> None:
    Path("loop").symlink_to("loop")
    done = wgan("export", "loop", "--out", "g.pt2")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "loop: " in done.err


def test_a_full_disk_leaves_the_old_file(wgan: Wgan, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("g.pt2").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = wgan("export", run, "--out", "g.pt2")
    assert done.code == 1
    assert done.err == "wgan: g.pt2: can't be written (No space left on device)\n"
    assert os.listdir() == ["g.pt2"]
    assert Path("g.pt2").read_text() == "old"


def test_reading_weights_without_the_library_names_the_remedy(
    wgan: Wgan, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("g.safetensors").write_text("any")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    done = wgan("sample", "g.safetensors", "--device", "cpu")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "pip install 'wgan[export]'" in done.err


def head_and_text(path: Path) -> tuple[dict[str, Any], str]:
    _, head, text = path.read_text().split("---\n", 2)
    return yaml.safe_load(head), text


def program_in(text: str) -> dict[str, Any]:
    """What the card's own Python has computed."""
    found: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, found)
    return found


@pytest.mark.parametrize("name", ["my gan.onnx", "my gan.pt2"])
@pytest.mark.parametrize("case", ["a table with given columns", "images by class", "points"])
def test_a_card_has_a_head_a_picture_and_code_that_works(
    name: str, case: str, wgan: Wgan, root: Path, tmp_path: Path
) -> None:
    if name.endswith(".onnx"):
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    run = trained(wgan, root, tmp_path, case)
    assert wgan("export", run, "--out", name, "--card", "my card.md").code == 0
    head, text = head_and_text(Path("my card.md"))
    assert head["library_name"] == ("onnx" if name.endswith(".onnx") else "wgan")
    assert "gan" in head["tags"]
    assert "license" not in head
    assert "![Generated samples](my%20card-samples.png)" in text
    assert np.asarray(Image.open("my card-samples.png").convert("L")).std() > 1
    shape = {"a table with given columns": (16, 3), "images by class": (16, 8, 8, 3), "points": (16, 2)}[case]
    drawn = program_in(text)
    assert tuple(drawn["samples"].shape) == shape
    if "given" in case:
        ranges = load_ranges(run)
        assert np.asarray(drawn["samples"])[:, 0] == pytest.approx(np.full(16, np.mean(ranges["x"])))
    assert yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["training"]["iterations"] == 6
    assert str(tmp_path) not in text
    assert str(root) not in text


def load_ranges(run: Path) -> dict[str, list[float]]:
    state = torch.load(max((run / "checkpoints").glob("0*.pt")), weights_only=True)["data"]["condition"]
    return dict(zip(state["names"], state["ranges"], strict=True))


def test_images_without_a_condition_have_their_task(wgan: Wgan, root: Path, tmp_path: Path) -> None:
    run = trained(wgan, root, tmp_path, "images")
    wgan("export", run, "--out", "g.pt2", "--card", "README.md")
    head, _ = head_and_text(Path("README.md"))
    assert head["pipeline_tag"] == "unconditional-image-generation"


def table_of(text: str) -> dict[str, list[str]]:
    rows = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    return {name: cells for name, *cells in rows}


def test_figures_are_those_of_the_evaluation_of_the_same_iteration(wgan: Wgan, root: Path, tmp_path: Path) -> None:
    data = f"data={{kind: arrays, path: {root}/table.csv, heldout: 0.3}}"
    run = trained(wgan, root, tmp_path, "a table", data)
    assert wgan("export", run, "--out", "g.pt2", "--card", "log.md").code == 0
    logged = Path("log.md").read_text()
    assert "From the log of training." in logged
    assert set(table_of(logged)) == {"critic/w1_low", "truth/w1"}

    figures = json.loads(wgan("evaluate", run, "--num", "9", "--json", "--device", "cpu").out)
    wgan("export", run, "--out", "g.pt2", "--card", "evaluated.md")
    evaluated = Path("evaluated.md").read_text()
    assert "From `wgan evaluate`, with 9 samples." in evaluated
    rows = table_of(evaluated)
    assert {"critic/w1_low", "truth/w1", "truth/w1_high"} < set(rows)
    w1, low, high, floor = (figures["truth/w1" + end] for end in ("", "_ci_low", "_ci_high", "_floor"))
    assert rows["truth/w1"] == [f"{w1:.4g}", f"{low:.4g} to {high:.4g}", f"{floor:.4g}"]
    assert rows["critic/w1_low"][0] == f"{figures['critic/w1_low']:.4g}"

    older = run / "checkpoints" / "000000004.pt"
    wgan("export", older, "--out", "g.pt2", "--card", "older.md")
    assert "From the log of training." in Path("older.md").read_text()  # the evaluation was of iteration 6
    for more in (("--raw",), ()):
        source = run if more else older.rename(tmp_path / "alone.pt")
        wgan("export", source, *more, "--out", "g.pt2", "--card", f"none{len(more)}.md")
        assert "None are known of this iteration" in Path(f"none{len(more)}.md").read_text()
