"""Classes of samples in arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wgan_cli
from tests.conftest import Wgan
from wgan_cli.conditions import Labels
from wgan_cli.data.array_labels import USUAL
from wgan_cli.data.arrays import Arrays
from wgan_cli.errors import BadInputError

CPU = torch.device("cpu")
COUNT = 60
CLASS = np.arange(COUNT) % 3
SAMPLES = np.stack([CLASS * 10.0, np.arange(COUNT)], 1)
"""Whose first value tells the class."""
NAMES = np.array(["left", "middle", "right"])
MLP = [
    "generator={kind: mlp, hidden: [8]}",
    "critic={kind: mlp, hidden: [8]}",
    "training={iterations: 2, batch_size: 8}",
]


def save(path: Path, labels: Any, samples: Any = SAMPLES, name: str = "labels") -> str:
    np.savez(path, samples=samples, **{name: labels})
    return str(path)


def data(path: str | tuple[str, ...], labels: str = "labels", **more: Any) -> Arrays:
    return Arrays(path=path, labels=labels, scale="none", **more).resolved()


def check_pairs(spec: Arrays) -> None:
    """Each sample has its own class, in training and among the held-out ones, and in batches."""
    dataset = Labels().attach(spec.load(CPU), spec)
    generator = torch.Generator().manual_seed(0)
    for heldout in (False, True):
        samples, condition = dataset.pairs(COUNT, generator, heldout=heldout)
        assert torch.equal(condition.argmax(1), (samples[:, 0] / 10).long())
    batches = dataset.batches(16, generator)
    batches.draw(2)
    for number in range(2):
        samples = batches.take(number)
        assert torch.equal(batches.condition(number).argmax(1), (samples[:, 0] / 10).long())


@pytest.mark.parametrize("resident", [True, False])
def test_each_sample_has_its_class(tmp_path: Path, resident: bool) -> None:
    spec = data(save(tmp_path / "a.npz", CLASS), resident=resident)
    assert spec.class_names == ("0", "1", "2")
    check_pairs(spec)


def test_text_and_real_whole_numbers_and_columns_are_labels(tmp_path: Path) -> None:
    spec = data(save(tmp_path / "a.npz", NAMES[CLASS]))
    assert spec.class_names == ("left", "middle", "right")
    check_pairs(spec)
    spec = data(save(tmp_path / "b.npz", (CLASS * 10.0)[:, None]))
    assert spec.class_names == ("0", "10", "20")
    check_pairs(spec)


def test_labels_may_be_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", SAMPLES)
    np.save("y.npy", CLASS)
    spec = data("x.npy", "y.npy")
    assert spec.labels == str(tmp_path / "y.npy")
    check_pairs(spec)


def test_several_files_have_labels_each(tmp_path: Path) -> None:
    paths = tuple(save(tmp_path / f"{part}.npz", CLASS[part::2], SAMPLES[part::2]) for part in (0, 1))
    check_pairs(data(paths))


def test_a_file_of_held_out_samples_has_some_of_the_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, two = save(tmp_path / "a.npz", NAMES[CLASS]), CLASS > 0
    check_pairs(data(path, heldout=save(tmp_path / "b.npz", NAMES[CLASS][two], SAMPLES[two])))
    other = save(tmp_path / "c.npz", np.full(COUNT, "behind"))
    assert data(path, heldout=other).load(CPU).labelled(heldout=True) is None  # what learns no classes needs none
    assert "c.npz: holds the class behind, which the run does not have" in caplog.text
    np.save(tmp_path / "d.npy", SAMPLES)
    for without in (other, str(tmp_path / "d.npy")):
        spec = data(path, heldout=without)
        with pytest.raises(BadInputError, match=r"its samples have no classes.* that data\.labels names"):
            Labels().attach(spec.load(CPU), spec)


@pytest.mark.parametrize("value", [np.inf, 1e30, 2.0**60])
def test_numbers_that_are_no_whole_ones_are_no_labels(tmp_path: Path, value: float) -> None:
    with pytest.raises(BadInputError, match="holds float64 values; labels are whole numbers or text"):
        data(save(tmp_path / "a.npz", np.where(CLASS == 1, value, CLASS)))


def test_whole_numbers_of_several_types_are_the_same_classes(tmp_path: Path) -> None:
    paths = tuple(save(tmp_path / f"{kind}.npz", CLASS.astype(kind)) for kind in ("int64", "uint64", "float32"))
    spec = data(paths)
    assert spec.class_names == ("0", "1", "2")


def test_classes_that_are_given_are_those_of_the_labels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", CLASS)
    assert data(path, classes=("0", "1", "2")).class_names == ("0", "1", "2")
    with pytest.raises(BadInputError, match="classes: must be those of labels, 0, 1, 2; leave them out"):
        data(path, classes=("a", "b", "c"))


def test_the_only_array_holds_no_labels_of_itself(wgan: Wgan, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", CLASS)
    assert "classes" not in wgan("data", tmp_path / "a.npz").out


def test_a_target_of_many_whole_numbers_is_no_class(wgan: Wgan, tmp_path: Path) -> None:
    assert "classes" not in wgan("data", save(tmp_path / "a.npz", np.arange(COUNT), name="y")).out


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (CLASS[1:], r"a\.npz: labels: holds 59 labels, but there are 60 samples"),
        (CLASS + 0.5, "holds float64 values; labels are whole numbers or text"),
        (np.eye(3)[CLASS], r"has shape \(60, 3\); labels are one whole number or text a sample"),
        (np.array([None] * COUNT), "its labels can't be read"),
    ],
)
def test_what_are_no_labels_is_refused(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        data(save(tmp_path / "a.npz", labels))


def test_labels_that_are_missing_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", CLASS)
    with pytest.raises(BadInputError, match=r"has no array y, but samples, labels"):
        data(path, "y")
    with pytest.raises(BadInputError, match=r"y\.npy: no such file"):
        data(path, "y.npy")
    np.save(tmp_path / "x.npy", SAMPLES)
    with pytest.raises(BadInputError, match="labels are an array of the same"):
        data(str(tmp_path / "x.npy"))
    with pytest.raises(BadInputError, match="classes: need labels"):
        Arrays(path=path, classes=("a", "b")).resolved()


@pytest.mark.parametrize("name", USUAL)
def test_a_survey_finds_labels_by_their_usual_names(wgan: Wgan, tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "a.npz", NAMES[CLASS], name=name)
    done = wgan("data", path)
    assert (done.code, done.err) == (0, "")
    assert "classes  left: 20, middle: 20, right: 20\n" in done.out
    assert done.out.endswith(f"data: {{kind: arrays, path: {path}, labels: {name}}}\n")
    assert wgan("init", "--data", path, "--out", tmp_path / "c.yaml").code == 0
    written = (tmp_path / "c.yaml").read_text()
    assert "# condition: {kind: labels}  # learns classes, for wgan sample --class" in written


@pytest.mark.parametrize("labels", [CLASS, NAMES[CLASS], CLASS.astype(float)])
def test_a_survey_finds_labels_by_their_values(wgan: Wgan, tmp_path: Path, labels: Any) -> None:
    done = wgan("data", save(tmp_path / "a.npz", labels, name="particle"))
    assert "labels: particle}" in done.out
    assert "classes" in done.out


def test_a_survey_takes_no_other_array_for_labels(wgan: Wgan, tmp_path: Path) -> None:
    for labels, name in (
        (np.arange(COUNT), "seeds"),
        (np.zeros(COUNT), "flag"),
        (CLASS[1:], "labels"),
        (CLASS / 7, "labels"),
        (np.eye(3)[CLASS], "y"),
    ):
        done = wgan("data", save(tmp_path / "a.npz", labels, name=name))
        assert (done.code, done.err) == (0, "")
        assert "classes" not in done.out


def test_a_class_is_asked_for_and_a_run_goes_on(wgan: Wgan, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", NAMES[CLASS])
    line = ["train", "table_gp", f"--set=data={{kind: arrays, path: {path}, labels: labels}}"]
    line += ["--set=condition={kind: labels}", *(f"--set={pair}" for pair in MLP), "--out", tmp_path / "run"]
    assert wgan(*line).code == 0
    done = wgan("sample", tmp_path / "run", "--class=left,right", "--num=2", "--out", tmp_path / "s.npz")
    assert done.code == 0, done.err
    names = np.load(tmp_path / "s.npz")["names"].tolist()
    assert names == ["left-seed000000", "left-seed000001", "right-seed000000", "right-seed000001"]
    longer = [*line, "--resume", "--set=training.iterations=4"]
    assert wgan(*longer).code == 0
    run = wgan_cli.load_run(tmp_path / "run", device="cpu")
    assert run.step == 4
    assert run.picture().ndim == 3
    done = wgan("evaluate", tmp_path / "run", "--num=4", "--json")
    assert done.code == 0, done.err
    save(Path(path), NAMES[(CLASS + 1) % 3])  # the same samples, with other classes
    done = wgan(*longer, "--set=training.iterations=6")
    assert done.code == 2
    assert "data" in done.err
