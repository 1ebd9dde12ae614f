import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wgan_cli as wgan
from tests.data.pictures import COLOURS, noise, write_folder, zipped
from wgan_cli.conditions.labels import Labels
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import Images, images
from wgan_cli.data.finite import FiniteDataset
from wgan_cli.errors import BadInputError

CPU = torch.device("cpu")


def loaded(path: Path, **fields: Any) -> tuple[Images, FiniteDataset]:
    spec = Images.model_validate({"path": str(path), "size": 8, **fields}).resolved()
    dataset = spec.load(CPU)
    assert isinstance(dataset, FiniteDataset)
    return spec, dataset


def all_of(dataset: FiniteDataset, *, heldout: bool) -> torch.Tensor:
    store = dataset.others if heldout else dataset.samples
    assert store is not None
    return store.at(torch.arange(len(store)))


def numbers(samples: torch.Tensor) -> list[int]:
    """The first pixel of each, which `write_folder` counts up."""
    return ((samples[:, 0, 0, 0] + 1) * 255 / 2).round().long().tolist()


@pytest.mark.parametrize("in_zip", [False, True])
@pytest.mark.parametrize("resident", [False, True])
def test_every_picture_is_trained_on_or_held_out(tmp_path: Path, in_zip: bool, resident: bool) -> None:
    folder = write_folder(tmp_path / "x", 30)
    path = zipped(folder, tmp_path / "x.zip") if in_zip else folder
    spec, dataset = loaded(path, resident=resident)
    train, heldout = (all_of(dataset, heldout=side) for side in (False, True))
    assert dataset.samples.is_resident == resident
    assert dataset.others is not None
    assert dataset.others.is_resident == resident
    assert sorted(numbers(train) + numbers(heldout)) == list(range(30))
    assert len(heldout) == 3
    assert train.min() >= -1
    assert train.max() <= 1
    assert train[0, :, 4, 4].tolist() == pytest.approx([90 * 2 / 255 - 1] * 3)
    assert spec.class_names == ()
    assert dataset.labelled(heldout=False) is None


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"size": 4}, (3, 4, 4)),
        ({"size": (4, 12)}, (3, 4, 12)),
        ({"size": 4, "channels": 1}, (1, 4, 4)),
        ({"size": 4, "channels": 4}, (4, 4, 4)),
    ],
)
def test_the_config_says_what_a_sample_is(tmp_path: Path, fields: dict[str, Any], shape: tuple[int, ...]) -> None:
    spec, dataset = loaded(write_folder(tmp_path / "x"), **fields)
    samples = all_of(dataset, heldout=False)
    assert spec.sample_shape == samples.shape[1:] == shape
    assert spec.is_image
    assert spec.is_bounded
    decoded = spec.decoded(samples, dataset.state_dict())
    assert decoded.dtype == np.uint8
    assert decoded.shape == (len(samples), *shape[1:], shape[0])


def test_a_class_is_a_first_level_folder(tmp_path: Path) -> None:
    spec, dataset = loaded(write_folder(tmp_path / "x", 30, COLOURS))
    assert spec.class_names == ("blue", "green", "red")
    for heldout in (False, True):
        labelled = dataset.labelled(heldout=heldout)
        assert labelled is not None
        samples, labels = labelled
        expected = torch.tensor([COLOURS[spec.class_names[label]] for label in labels]) * 2 / 255 - 1
        assert torch.allclose(samples[:, :, 4, 4], expected)


def test_held_out_pictures_of_a_folder_have_their_classes_by_name(tmp_path: Path) -> None:
    heldout = write_folder(tmp_path / "y", 4, ("red", "green"))  # without blue, which is the first class
    _, dataset = loaded(write_folder(tmp_path / "x", 12, COLOURS), heldout=str(heldout))
    labelled = dataset.labelled(heldout=True)
    assert labelled is not None
    assert labelled[1].tolist() == [1, 1, 2, 2]
    assert len(all_of(dataset, heldout=False)) == 12
    one = write_folder(tmp_path / "z", 3, ("red",))
    labelled = loaded(tmp_path / "x", heldout=str(one))[1].labelled(heldout=True)
    assert labelled is not None
    assert labelled[1].tolist() == [2, 2, 2]
    with pytest.raises(
        BadInputError, match=r"w/white/001\.png: is in no folder of a class; these are blue, green, red"
    ):
        loaded(tmp_path / "x", heldout=str(write_folder(tmp_path / "w", 3, ("red", "white"))))


@pytest.mark.parametrize("place", ["", "white"])
def test_held_out_pictures_need_classes_only_where_they_are_asked_for(tmp_path: Path, place: str) -> None:
    heldout = str(write_folder(tmp_path / "y", 3, (place,)))
    spec, dataset = loaded(write_folder(tmp_path / "x", 12, COLOURS), heldout=heldout)
    assert numbers(all_of(dataset, heldout=True)) == [0, 1, 2]
    assert dataset.labelled(heldout=True) is None
    assert dataset.labelled(heldout=False) is not None
    message = r"data\.heldout: its samples have no classes, .* folders of the same names \(blue, green, red\)"
    with pytest.raises(BadInputError, match=message):
        Labels().attach(dataset, spec)


def test_pictures_of_a_class_that_came_later_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 12, COLOURS)
    spec = Images(path=str(folder), size=8).resolved()
    write_folder(folder, 1, ("white",))
    with pytest.raises(BadInputError, match=r"x/white/000\.png: is in no folder of a class"):
        spec.load(CPU)


def test_resolving_makes_paths_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "x", 6, ("b", "a"))
    spec = Images(path="x", size=8, heldout="y").resolved()
    assert (spec.path, spec.heldout) == (str(tmp_path / "x"), str(tmp_path / "y"))
    assert spec.classes == ("a", "b")
    (tmp_path / "x").rename(tmp_path / "elsewhere")
    assert spec.resolved() is spec


@pytest.mark.parametrize("order", [("0", "1", "10", "2"), ("0", "1", "2", "10")])
def test_the_classes_of_an_older_run_keep_their_numbers(tmp_path: Path, order: tuple[str, ...]) -> None:
    folder = write_folder(tmp_path / "x", 8, ("10", "2", "1", "0"))  # so pictures 0 and 4 are in folder 10
    assert loaded(folder)[0].classes == ("0", "1", "2", "10")
    _, dataset = loaded(folder, classes=order)
    labelled = dataset.labelled(heldout=False)
    assert labelled is not None
    folders = [("10", "2", "1", "0")[number % 4] for number in numbers(labelled[0])]
    assert [order[label] for label in labelled[1]] == folders


def test_a_class_that_no_config_can_name_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 6, ("tea", os.fsdecode(b"caf\xe9")))
    with pytest.raises(BadInputError, match=r"x: the name of the folder 'caf\\udce9' is not UTF-8; rename it"):
        loaded(folder)


@pytest.mark.parametrize(
    ("count", "heldout", "message"),
    [
        (0, 0, r"x: holds no pictures"),
        (1, 0, r"x: holds 1 samples; 2 to train on and 2 held-out ones need 4"),
        (9, 1, r"y: holds 1 held-out sample; at least 2 are needed"),
    ],
)
def test_too_few_pictures_are_refused(tmp_path: Path, count: int, heldout: int, message: str) -> None:
    (tmp_path / "x").mkdir()
    fields = {"heldout": str(write_folder(tmp_path / "y", heldout))} if heldout else {}
    with pytest.raises(BadInputError, match=message):
        loaded(write_folder(tmp_path / "x", count), **fields)


def test_pictures_stay_in_memory_only_where_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "x")
    assert loaded(folder)[1].samples.is_resident
    monkeypatch.setattr(images, "free_memory", lambda _: 4 * 12 * 3 * 8 * 8)
    assert not loaded(folder)[1].samples.is_resident


def config_of(folder: Path, *more: str, iterations: int = 2) -> RunConfig:
    tiny = ("generator.hidden=[4]", "critic.hidden=[4]", "training.batch_size=4", "training.n_critic=1", "latent.dim=2")
    every = ("output.log_every=2", "output.sample_every=2", "output.checkpoint_every=2")
    data = f"data={{kind: images, path: {folder}, size: 8}}"
    return load_config("mnist_mlp_gp", [*tiny, *every, data, f"training.iterations={iterations}", *more])


def test_pictures_of_one_colour_are_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    for i in range(6):
        noise().point(lambda _: 128).save(folder / f"{i}.png")
    run = wgan.train(config_of(folder), tmp_path / "run", device="cpu")
    assert wgan.load_run(run, device="cpu").sample(range(3)).isfinite().all()


def test_a_run_goes_on_with_the_same_pictures_alone(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x")
    run = wgan.train(config_of(folder), tmp_path / "run", device="cpu")
    moved = folder.rename(tmp_path / "moved")
    assert wgan.train(config_of(moved, iterations=4), run, resume=True, device="cpu") == run
    noise().save(moved / "000.png")
    with pytest.raises(BadInputError, match="the data has changed since the run began"):
        wgan.train(config_of(moved, iterations=6), run, resume=True, device="cpu")
