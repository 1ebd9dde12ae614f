import csv as csv_module
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import platformdirs
import pytest
import torch
from PIL import Image

import wgan_cli as wgan_package
from tests.conftest import Wgan
from tests.data.pictures import write_folder
from tests.helpers import made_up_checksums, write_made_up_mnist
from wgan_cli.conditions import Classes, GivenColumns
from wgan_cli.config.load import load_config
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.sample_files import open_samples
from wgan_cli.errors import BadInputError
from wgan_cli.runs.loaded import LoadedRun
from wgan_cli.sampling import parse_classes

HEADER = ("energy (GeV)", "hits", "angle, rad")
TINY = (
    *("generator.hidden=[8]", "critic.hidden=[8]", "latent.dim=3", "training.batch_size=8", "training.n_critic=1"),
    *("training.iterations=2", "output.log_every=2", "output.sample_every=2", "output.checkpoint_every=2"),
)


def table() -> Any:
    rng = np.random.default_rng(0)
    return np.stack([rng.normal(50, 9, 80), rng.integers(0, 90, 80), rng.uniform(-1, 1, 80)], 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of trained runs: of pictures `digits`, `colours`, `numbers`, `plain`; of a table `given`; `series`."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs")
    with (data / "x.csv").open("w", newline="") as file:
        csv_module.writer(file).writerows([HEADER, *table().tolist()])
    np.save(data / "x.npy", np.random.default_rng(0).integers(0, 200, (30, 16, 2)).astype(np.uint8))
    write_folder(data / "colours", 12, ("red", "green", "blue"))
    write_folder(data / "numbers", 12, ("10", "20", "2", "1"))
    write_made_up_mnist(data / "mnist")
    configs = {
        "digits": (f"{{kind: mnist, root: {data / 'mnist'}}}", "{kind: labels}"),
        "colours": (f"{{kind: images, path: {data / 'colours'}, size: 8}}", "{kind: labels}"),
        "numbers": (f"{{kind: images, path: {data / 'numbers'}, size: 8}}", "{kind: labels}"),
        "plain": (f"{{kind: images, path: {data / 'colours'}, size: 8}}", "null"),
        "given": (f"{{kind: arrays, path: {data / 'x.csv'}}}", "{kind: columns, names: [hits, energy (GeV)]}"),
        "series": (f"{{kind: arrays, path: {data / 'x.npy'}, channels: last}}", "null"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(data / "cache"))
        patch.setattr(Mnist, "checksums", made_up_checksums(data / "mnist"))
        for name, (what, condition) in configs.items():
            config = load_config("mnist_mlp_gp", [*TINY, f"data={what}", f"condition={condition}"])
            wgan_package.train(config, folder / name, device="cpu")
        yield folder


@pytest.fixture
def sample(runs: Path, wgan: Wgan) -> Wgan:
    """`sample("digits", "--class=7")` as the command line would run it, on the CPU."""
    return lambda run, *options: wgan("sample", "--ckpt", runs / str(run), "--device=cpu", *options)


def opened(runs: Path, name: str) -> LoadedRun:
    return wgan_package.load_run(runs / name, device="cpu")


def drawn(path: str = "x.npz") -> tuple[Any, list[str]]:
    with np.load(path) as file:
        return file["samples"], file["names"].tolist()


def expected(run: LoadedRun, seeds: Any, numbers: list[int]) -> Any:
    """The samples of these seeds for each class in turn."""
    assert isinstance(run.conditions, Classes)
    parts = [run.conditions.encode(torch.full((len(seeds),), number)) for number in numbers]
    return run.decode(run.sample([*seeds] * len(numbers), torch.cat(parts)))


# Classes


@pytest.mark.parametrize(
    ("run", "asked", "numbers"),
    [
        ("digits", "7", [7]),
        ("digits", "0-9", list(range(10))),
        ("digits", "3, 5-6,0", [3, 5, 6, 0]),
        ("colours", "green", [1]),
        ("colours", "1", [1]),
        ("colours", "red,0", [2, 0]),
        ("colours", "0-2", [0, 1, 2]),
        ("numbers", "20", [3]),  # the names are 1, 2, 10, 20
        ("numbers", "2", [1]),
        ("numbers", "1-2", [0, 1]),
        ("numbers", "0-3", [0, 1, 2, 3]),
    ],
)
def test_classes_are_asked_for_by_name_or_number(
    runs: Path, sample: Wgan, run: str, asked: str, numbers: list[int]
) -> None:
    done = sample(run, f"--class={asked}", "--num=4", "--seed=5", "--out=x.npz")
    assert done.code == 0, done.err
    assert done.out == "x.npz\n"
    samples, names = drawn()
    loaded = opened(runs, run)
    classes = loaded.config.data.class_names
    assert names == [f"{classes[number]}-seed{seed:06d}" for number in numbers for seed in range(5, 9)]
    assert np.array_equal(samples, expected(loaded, range(5, 9), numbers))


@pytest.mark.parametrize(
    ("asked", "numbers"), [("0-2", [0, 1, 4]), ("2-11", [4, 2, 3]), ("10", [2]), ("11-12", None), ("2-0", None)]
)
def test_a_range_of_an_older_run_is_of_the_names_between(asked: str, numbers: list[int] | None) -> None:
    names = ("0", "1", "10", "11", "2")  # as text is sorted
    loaded: Any = SimpleNamespace(conditions=Classes(names, torch.full((5,), 0.2)))
    if numbers is None:
        with pytest.raises(BadInputError, match=r"class (12: unknown|2-0: a range goes)"):
            parse_classes(asked, loaded)
    else:
        assert parse_classes(asked, loaded) == numbers


def test_the_name_of_a_class_may_have_a_comma() -> None:
    loaded: Any = SimpleNamespace(conditions=Classes(("a", "b", "a,b"), torch.full((3,), 1 / 3)))
    assert parse_classes("a,b", loaded) == [2]
    assert parse_classes("b,a", loaded) == [1, 0]


@pytest.mark.parametrize(
    ("run", "asked", "count"),
    [("digits", "7", 64), ("colours", "red", 64), ("digits", "0-9", 80), ("colours", "0,1", 16)],
)
def test_one_class_fills_a_grid_and_several_a_row_each(sample: Wgan, run: str, asked: str, count: int) -> None:
    assert sample(run, "--class", asked, "--out=x.npz").code == 0
    assert len(drawn()[0]) == count


def test_the_grid_has_one_row_a_class_and_is_that_of_training(runs: Path, sample: Wgan) -> None:
    for run, asked in (("digits", "0-9"), ("colours", "0-2")):
        done = sample(run, "--class", asked)
        assert done.code == 0
        assert f"samples.png: its rows are {', '.join(opened(runs, run).config.data.class_names)}" in done.err
        grid, trained = (
            np.asarray(Image.open(path)) for path in ("samples.png", runs / run / "samples" / "000000002.png")
        )
        side, scale, rows = (28, 1, 10) if run == "digits" else (24, 3, 3)  # colours of 8 x 8 are enlarged
        assert np.array_equal(grid, trained)
        names = grid.shape[1] - (8 * (side + 2) + 2)
        assert grid.shape[0] == rows * (side + 2) + 2
        assert names > 0
        tiles = expected(opened(runs, run), range(8), list(range(rows)))
        for row in range(rows):
            for column in range(8):
                top, left = 2 + row * (side + 2), names + 2 + column * (side + 2)
                tile = grid[top : top + side : scale, left : left + side : scale]
                wanted = tiles[8 * row + column]
                assert (tile == wanted).all()


def test_seeds_can_be_named_for_every_class(runs: Path, sample: Wgan) -> None:
    assert sample("colours", "--class=0,2", "--seeds=9,3-4", "--out=x.npz").code == 0
    samples, names = drawn()
    assert names == [f"{name}-seed00000{seed}" for name in ("blue", "red") for seed in (9, 3, 4)]
    assert np.array_equal(samples, expected(opened(runs, "colours"), [9, 3, 4], [0, 2]))


def test_without_a_class_the_runs_own_mixture_is_drawn(runs: Path, sample: Wgan) -> None:
    assert sample("digits", "--num=30", "--out=x.npz").code == 0
    samples, names = drawn()
    run = opened(runs, "digits")
    assert names[:2] == ["seed000000", "seed000001"]
    assert np.array_equal(samples, run.decode(run.sample(range(30))))
    assert run.conditions is not None
    numbers = run.conditions.for_seeds(range(30)).argmax(1).tolist()
    for seed in (0, 7, 29):
        assert np.array_equal(samples[seed], expected(run, [seed], [numbers[seed]])[0])


def test_a_path_between_two_seeds_keeps_its_class(runs: Path, sample: Wgan) -> None:
    done = sample("colours", "--class=0,2", "--interpolate=4,9", "--num=5", "--out=x.npz")
    assert (done.code, done.err) == (0, "")
    samples, names = drawn()
    assert len(names) == len(set(names)) == 10
    run = opened(runs, "colours")
    ends = expected(run, [4, 9], [0, 2])
    found = samples[[0, 4, 5, 9]].astype(int)
    assert np.abs(found - ends.astype(int)).max() <= 1  # the rounding of a sum of sines


def test_a_folder_gets_a_picture_a_sample(runs: Path, sample: Wgan) -> None:
    assert sample("colours", "--class=red,blue", "--num=2", "--out=pictures").code == 0
    names = sorted(path.name for path in Path("pictures").iterdir())
    assert names == ["blue-seed000000.png", "blue-seed000001.png", "red-seed000000.png", "red-seed000001.png"]
    tiles = expected(opened(runs, "colours"), range(2), [0, 2])
    for name, tile in zip(names, tiles, strict=True):
        assert np.array_equal(np.asarray(Image.open(Path("pictures") / name)), tile)


def test_a_class_without_samples_is_told(runs: Path, sample: Wgan, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Classes.__init__

    def without_the_first(self: Classes, names: tuple[str, ...], shares: torch.Tensor) -> None:
        found(self, names, shares * (torch.arange(len(shares)) > 0))

    monkeypatch.setattr(Classes, "__init__", without_the_first)
    done = sample("colours", "--class=0-1", "--out=x.npz")
    assert done.code == 0
    assert "--class: the run had no sample of blue to train on" in done.err
    assert "green" not in done.err


# Given values


def rows_of(path: str) -> tuple[list[str], list[list[str]]]:
    with Path(path).open(newline="") as file:
        header, *rows = csv_module.reader(file)
    return header, rows


def test_given_values_stand_in_the_table_as_they_were_given(sample: Wgan) -> None:
    done = sample("given", "--given=hits=12", "--given=energy (GeV)=51.25", "--num=7", "--out=x.csv")
    assert done.code == 0, done.err
    assert done.err == ""
    header, rows = rows_of("x.csv")
    assert tuple(header) == HEADER
    assert {tuple(row[:2]) for row in rows} == {("51.25", "12")}
    assert len({row[2] for row in rows}) == 7


def test_rows_of_a_file_are_given_by_their_names(runs: Path, sample: Wgan) -> None:
    Path("rows.csv").write_text("hits;note;energy (GeV)\n3;0;40.5\n12;0;61\n7;0;50\n")
    assert sample("given", "--given-from=rows.csv", "--out=x.csv", "--seed=4").code == 0
    _, rows = rows_of("x.csv")
    assert [(float(row[0]), row[1]) for row in rows] == [(40.5, "3"), (61, "12"), (50, "7")]
    run = opened(runs, "given")
    assert isinstance(run.conditions, GivenColumns)
    asked = run.conditions.encode(torch.tensor([[3, 40.5], [12, 61], [7, 50]], dtype=torch.float64))
    values = run.decode(run.sample([4, 5, 6], asked))
    assert [float(row[2]) for row in rows] == values[:, 2].tolist()


def test_without_given_values_those_of_the_data_are_taken(runs: Path, sample: Wgan) -> None:
    assert sample("given", "--num=50", "--out=x.npy").code == 0
    found, known = np.load("x.npy"), table()
    for row in found:
        assert min(abs(known[:, 1] - row[1]) + abs(known[:, 0] - row[0])) < 1e-4


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ("hits=500", "hits=500 is outside of what the run was trained on, {low:g} to {high:g}"),
        ("hits=-1", "hits=-1 is outside of what the run was trained on, {low:g} to {high:g}"),
        ("hits={high}", ""),
        ("hits={low}", ""),
        ("hits=30", ""),
    ],
)
def test_values_far_from_the_data_are_told_with_its_range(sample: Wgan, given: str, warning: str) -> None:
    hits = table()[:, 1]
    limits = {"low": hits.min(), "high": hits.max()}
    done = sample("given", f"--given={given.format(**limits)}", "--given=energy (GeV)=50", "--out=x.npz")
    assert done.code == 0
    assert done.err.strip() == (f"wgan: {warning.format(**limits)}" if warning else "")


def test_the_datas_own_greatest_and_least_values_are_in_range(sample: Wgan) -> None:
    for energy in (table()[:, 0].min(), table()[:, 0].max()):
        for text in (repr(float(energy)), f"{energy:.7g}"):
            assert sample("given", "--given=hits=5", f"--given=energy (GeV)={text}", "--out=x.npz").err == ""


# Files


def test_every_format_holds_the_same(sample: Wgan) -> None:
    pytest.importorskip("pyarrow")
    found = {}
    for ending in (".npz", ".npy", ".csv", ".parquet"):
        assert sample("given", "--num=9", f"--out=x{ending}").code == 0
        found[ending] = open_samples(Path(f"x{ending}"))
    for file in found.values():
        assert np.array_equal(file.values, found[".npz"].values)
        assert file.values.dtype == np.float64
    assert found[".csv"].names == found[".parquet"].names == HEADER
    _, rows = rows_of("x.csv")
    assert all(row[1].isdecimal() for row in rows)
    types = [str(kind) for kind in pytest.importorskip("pyarrow.parquet").read_schema("x.parquet").types]
    assert types == ["int64" if i == 1 else "double" for i in range(len(HEADER))]


def test_arrays_come_back_in_the_layout_and_type_they_came_in(runs: Path, sample: Wgan) -> None:
    for ending in ("npy", "npz"):
        assert sample("series", "--num=5", f"--out=x.{ending}").code == 0
        values = open_samples(Path(f"x.{ending}")).values
        assert values.shape == (5, 16, 2)
        assert values.dtype == np.uint8
    assert sample("series", "--num=5", "--out=x.png").code == 0
    assert min(Image.open("x.png").size) > 100


def test_the_default_file_suits_the_data(sample: Wgan) -> None:
    assert [sample(run, "--num=4").out for run in ("plain", "given")] == ["samples.png\n", "samples.npz\n"]
    assert sample("given", "--num=4").err == "wgan: samples.npz: is replaced; --out keeps several\n"
    assert sample("given", "--num=4", "--out=samples.npz").err == ""


def test_what_came_out_can_go_in_again(runs: Path, sample: Wgan, wgan: Wgan) -> None:
    assert sample("given", "--num=40", "--out=x.csv").code == 0
    options = [f"--set={option}" for option in (*TINY, "data={kind: arrays, path: x.csv}")]
    trained = wgan("train", "--config=mnist_mlp_gp", "--device=cpu", *options)
    assert trained.code == 0, trained.err
    assert opened(Path.cwd(), trained.out.strip()).config.data.value_names == HEADER


# Misuse


LABELS = "--class: the run was not trained with condition: {kind: labels}"
COLUMNS = "--given: the run was not trained with condition: {kind: columns, names: [...]}"


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        ("plain", ["--class=7"], LABELS),
        ("given", ["--class=7"], LABELS),
        ("plain", ["--given=hits=1"], COLUMNS),
        ("digits", ["--given=hits=1"], COLUMNS),
        ("plain", ["--given-from=rows.csv"], COLUMNS),
        ("digits", ["--class=10"], "class 10: unknown; the run's classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("digits", ["--class=0-10"], "class 10: unknown"),
        ("digits", ["--class=seven"], "class seven: unknown"),
        ("digits", ["--class="], "class : unknown"),
        ("digits", ["--class=1,,2"], "class : unknown"),
        ("digits", ["--class=9-0"], "--class 9-0: a range goes from its smaller number to its larger, such as 0-9"),
        ("digits", ["--class=1,9-0"], "--class 9-0: a range goes from its smaller number"),
        ("digits", ["--class=-1"], "class -1: unknown"),
        ("colours", ["--class=white"], "class white: unknown; the run's classes are blue, green, red"),
        ("digits", ["--class=7", "--given=hits=1"], "--class, --given and --given-from: ask by one of them"),
        ("digits", ["--class=7", "--given-from=rows.csv"], "--class, --given and --given-from: ask by one of them"),
        ("given", ["--given=hits=1", "--given-from=rows.csv"], "--class, --given and --given-from: ask by one of them"),
        ("given", ["--given=hits=1"], "given columns: energy (GeV) is missing; the run needs all of them"),
        ("given", ["--given=mass=1"], "given mass=1.0: the run's given columns are hits, energy (GeV)"),
        ("given", ["--given=hits"], "--given hits: must be COLUMN=NUMBER, such as hits=1.5"),
        ("given", ["--given=hits=many"], "--given hits=many: must be COLUMN=NUMBER"),
        ("given", ["--given=hits=nan"], "given hits=nan: must be a finite number"),
        ("given", ["--given=hits=1e999"], "given hits=inf: must be a finite number"),
        ("given", ["--given=hits=1", "--given=hits=2"], "--given hits=2: hits is given twice"),
        ("given", ["--given-from=nothing.csv"], "nothing.csv: no such file"),
        ("given", ["--given-from=rows.csv"], "--given-from rows.csv: has no column energy (GeV)"),
        ("given", ["--given-from=rows.npy"], "--given-from rows.npy: has no column hits, energy (GeV)"),
        ("given", ["--given-from=nan.csv"], "--given-from nan.csv: holds values that are not finite"),
        ("given", ["--given-from=rows.csv", "--num=3"], "--given-from draws one sample a row; leave out --num"),
        ("given", ["--given-from=rows.csv", "--seeds=3"], "--given-from draws one sample a row; leave out --num"),
        ("given", ["--out=folder"], "--out folder: a folder of PNGs needs images"),
        ("series", ["--out=x.csv"], "--out x.csv: a table needs samples of one dimension; write .npz or .npy"),
        ("digits", ["--out=x.parquet"], "--out x.parquet: a table needs samples of one dimension"),
        ("given", ["--out=x.xlsx"], "--out x.xlsx: must end in .png, .npz, .npy, .csv, .parquet"),
        ("given", ["--out=deep/x.csv"], "--out deep/x.csv: there is no folder deep; make it first"),
    ],
)
def test_misuse_is_told_and_nothing_is_written(sample: Wgan, run: str, options: list[str], message: str) -> None:
    Path("rows.csv").write_text("hits,energy\n1,2\n")
    Path("nan.csv").write_text("hits,energy (GeV)\n1,nan\n")
    np.save("rows.npy", np.zeros((3, 2)))
    before = sorted(Path.cwd().rglob("*"))
    done = sample(run, *options)
    assert done.code == 2
    (line,) = (line for line in done.err.splitlines() if "is taken as a header" not in line)
    assert line.startswith(f"wgan: {message}")
    assert done.out == ""
    assert sorted(Path.cwd().rglob("*")) == before


def test_a_request_in_range_says_nothing(sample: Wgan, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert sample("digits", "--class=7", "--out=x.npz").err == ""
