import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wgan_cli as wgan
from tests.helpers import next_batch
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import array_files, arrays
from wgan_cli.data.arrays import Arrays
from wgan_cli.data.finite import FiniteDataset
from wgan_cli.errors import BadInputError, ExitCode, WganError

CPU = torch.device("cpu")
NAMES = ("energy", "angle", "hits")


def table(count: int = 40) -> Any:
    """Rows of two real columns and a whole one; no two rows are equal."""
    rng = np.random.default_rng(0)
    return np.stack([rng.normal(50, 9, count), rng.uniform(-1, 1, count), np.arange(count)], 1)


def _csv(path: Path, values: Any) -> None:
    np.savetxt(path, values, delimiter=",", header=",".join(NAMES), comments="", fmt="%.17g")


def _parquet(path: Path, values: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(list(values.T), names=list(NAMES)), path)


WRITERS: dict[str, Callable[[Path, Any], object]] = {
    ".npy": np.save,
    ".npz": lambda path, values: np.savez(path, samples=values, others=np.zeros(3)),
    ".pt": lambda path, values: torch.save(torch.from_numpy(values), path),
    ".csv": _csv,
    ".parquet": _parquet,
}


def saved(path: Path, values: Any) -> str:
    WRITERS[path.suffix](path, values)
    return str(path)


def loaded(**fields: Any) -> tuple[Arrays, FiniteDataset]:
    spec = Arrays.model_validate(fields).resolved()
    dataset = spec.load(CPU)
    assert isinstance(dataset, FiniteDataset)
    return spec, dataset


def sides(spec: Arrays, dataset: FiniteDataset) -> tuple[Any, Any]:
    """All samples to train on, and all held-out ones, in the user's units and layout."""
    assert dataset.others is not None
    return tuple(  # type: ignore[return-value]
        spec.decoded(store.at(torch.arange(len(store))), dataset.state_dict())
        for store in (dataset.samples, dataset.others)
    )


def rows_of(values: Any) -> list[list[float]]:
    return sorted(np.asarray(values, np.float64).reshape(len(values), -1).round(4).tolist())


@pytest.mark.parametrize("ending", WRITERS)
def test_each_format_gives_the_same_samples(tmp_path: Path, ending: str) -> None:
    spec, dataset = loaded(path=saved(tmp_path / f"x{ending}", table()))
    _, expected = loaded(path=saved(tmp_path / "expected.npy", table()))
    assert spec.sample_shape == (3,)
    assert spec.value_names == (NAMES if ending in (".csv", ".parquet") else None)
    assert torch.equal(dataset.samples.at(torch.arange(36)), expected.samples.at(torch.arange(36)))
    assert dataset.state_dict() == expected.state_dict()


@pytest.mark.parametrize(
    ("shape", "channels", "sample_shape", "view"),
    [
        ((), "first", (1,), "table"),
        ((3,), "first", (3,), "table"),
        ((2, 5), "first", (2, 5), "series"),
        ((5, 2), "last", (2, 5), "series"),
        ((2, 4, 6), "first", (2, 4, 6), "fields"),
        ((4, 6, 2), "last", (2, 4, 6), "fields"),
        ((2, 3, 4, 5), "first", (2, 3, 4, 5), "volumes"),
        ((3, 4, 5, 2), "last", (2, 3, 4, 5), "volumes"),
        ((9,), "none", (1, 9), "series"),
        ((4, 6), "none", (1, 4, 6), "fields"),
        ((2, 3, 4), "none", (1, 2, 3, 4), "volumes"),
        ((64, 2, 2), "first", (64, 2, 2), "fields"),
    ],
)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_samples_of_every_shape_come_back_in_the_layout_and_type_of_the_file(
    tmp_path: Path, shape: tuple[int, ...], channels: str, sample_shape: tuple[int, ...], view: str, dtype: Any
) -> None:
    values = np.random.default_rng(0).integers(0, 2 if dtype is bool else 99, (20, *shape)).astype(dtype)
    spec, dataset = loaded(path=saved(tmp_path / "x.npy", values), channels=channels)
    assert spec.sample_shape == sample_shape
    assert spec.view == view
    assert dataset.samples.at(torch.arange(3)).shape == (3, *sample_shape)
    train, heldout = sides(spec, dataset)
    assert train.dtype == dtype
    assert train.shape[1:] == (shape or (1,))
    assert rows_of(np.concatenate([train, heldout])) == rows_of(values)


def test_channels_last_is_scaled_by_channel(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(30, 4, 5, 2)) * [1, 100] + [0, 7]
    _, dataset = loaded(path=saved(tmp_path / "x.npy", values), channels="last")
    scaling = dataset.state_dict()["scaling"]
    assert scaling["shift"] == pytest.approx(values.mean((0, 1, 2)))
    assert scaling["scale"] == pytest.approx(values.std((0, 1, 2)))


@pytest.mark.parametrize("scale", ["standardise", "minmax", "none"])
def test_statistics_are_of_the_whole_file_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: str
) -> None:
    path = saved(tmp_path / "x.npy", table())
    _, whole = loaded(path=path, scale=scale)
    for module in (arrays, array_files):
        monkeypatch.setattr(module, "CHUNK", 7 * 3)
    _, pieces = loaded(path=path, scale=scale)
    state = pieces.state_dict()
    assert state["digest"] == whole.state_dict()["digest"]
    assert state["scaling"]["shift"] == pytest.approx(whole.state_dict()["scaling"]["shift"])
    assert pieces.samples.at(torch.arange(36)).numpy() == pytest.approx(whole.samples.at(torch.arange(36)).numpy())


def test_outputs_are_bounded_only_where_the_data_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", table())
    assert [loaded(path=path, scale=name)[0].is_bounded for name in ("minmax", "standardise", "none")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("resident", [True, False])
def test_several_files_are_one(tmp_path: Path, resident: bool) -> None:
    values = table()
    paths = tuple(
        saved(tmp_path / f"{i}{ending}", part)
        for i, (ending, part) in enumerate(zip((".npy", ".csv", ".npz"), np.split(values, [10, 11]), strict=True))
    )
    spec, dataset = loaded(path=paths, resident=resident)
    _, whole = loaded(path=saved(tmp_path / "whole.npy", values))
    assert spec.path == paths
    indices = torch.tensor([30, 0, 9, 35, 8])
    assert torch.allclose(dataset.samples.at(indices), whole.samples.at(indices), atol=1e-6)
    assert dataset.state_dict()["digest"] == whole.state_dict()["digest"]


@pytest.mark.parametrize("place", ["path", "heldout"])
def test_columns_of_several_tables_are_joined_by_name(tmp_path: Path, place: str) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "\n".join(f"{i},{-i}" for i in range(1, 9)))
    (tmp_path / "b.csv").write_text("y,x\n" + "\n".join(f"{-i},{i}" for i in range(9, 17)))
    (tmp_path / "other.csv").write_text("x,z\n" + "1,2\n" * 8)
    np.save(tmp_path / "nameless.npy", np.array([[17.0, -17.0], [18.0, -18.0]]))

    def beside(*others: str) -> dict[str, Any]:
        first, *rest = (str(tmp_path / name) for name in ("a.csv", *others))
        return {"path": (first, *rest)} if place == "path" else {"path": first, "heldout": rest[0]}

    spec, dataset = loaded(**beside("b.csv"))
    assert spec.value_names == ("x", "y")
    for side in sides(spec, dataset):
        assert (side[:, 0] > 0).all()
        assert np.array_equal(side[:, 0], -side[:, 1])
    with pytest.raises(BadInputError, match=r"other\.csv has no y, and .*a\.csv has no z, but both need"):
        loaded(**beside("other.csv"))
    _, dataset = loaded(**beside("nameless.npy"))  # it has the columns as they stand
    assert all((side[:, 0] > 0).all() for side in sides(spec, dataset))


def test_the_types_of_columns_hold_those_of_all_files(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"x": np.arange(4, dtype=np.int32), "y": np.arange(4, dtype=np.float32), "z": np.arange(4) > 1}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    wider = {"z": columns["z"], "y": columns["y"].astype(np.float64), "x": columns["x"].astype(np.int16)}
    parquet.write_table(pyarrow.table(wider), tmp_path / "b.parquet")
    _, dataset = loaded(path=(str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")))
    assert dataset.state_dict()["types"] == ["int32", "float64", "bool"]


def test_numbers_and_a_column_of_them_are_one(tmp_path: Path) -> None:
    paths = saved(tmp_path / "x.npy", np.arange(9)), saved(tmp_path / "y.npy", np.arange(9, 18)[:, None])
    train, heldout = sides(*loaded(path=paths))
    assert sorted(np.concatenate([train, heldout]).ravel().tolist()) == list(range(18))


def test_files_of_several_types_take_the_type_that_holds_all(tmp_path: Path) -> None:
    paths = tuple(saved(tmp_path / f"{t}.npy", np.arange(8).astype(t)[:, None]) for t in ("uint8", "int16"))
    train, heldout = sides(*loaded(path=paths))
    assert train.dtype == heldout.dtype == np.int16


def test_a_key_chooses_the_array_of_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros((8, 2)), b=np.arange(8.0)[:, None])
    path = str(tmp_path / "x.npz")
    assert loaded(path=path, key="b")[0].sample_shape == (1,)
    with pytest.raises(BadInputError, match="has no array c, but a, b"):
        loaded(path=path, key="c")
    with pytest.raises(BadInputError, match=r"name one by data\.key or --key"):
        loaded(path=path)
    with pytest.raises(BadInputError, match=r"a key is for \.npz files alone"):
        loaded(path=saved(tmp_path / "x.npy", table()), key="b")


@pytest.mark.parametrize(("count", "share", "expected"), [(40, 0.1, 4), (40, 0.5, 20), (12, 0.01, 2), (4, 0.99, 2)])
def test_the_share_held_out_never_overlaps_what_is_trained_on(
    tmp_path: Path, count: int, share: float, expected: int
) -> None:
    values = np.arange(count)
    fields = {"path": saved(tmp_path / "x.npy", values), "heldout": share}
    train, heldout = sides(*loaded(**fields))
    assert len(heldout) == expected
    assert sorted(np.concatenate([train, heldout]).ravel().tolist()) == values.tolist()
    assert [side.tolist() for side in sides(*loaded(**fields))] == [train.tolist(), heldout.tolist()]


def test_a_held_out_file_leaves_all_samples_to_train_on(tmp_path: Path) -> None:
    values = np.arange(30)
    fields = {"path": saved(tmp_path / "x.npy", values[:20]), "heldout": saved(tmp_path / "y.npy", values[20:])}
    train, heldout = sides(*loaded(**fields))
    assert train.ravel().tolist() == values[:20].tolist()
    assert heldout.ravel().tolist() == values[20:].tolist()


def test_resolving_makes_paths_absolute_and_keeps_shape_and_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    saved(tmp_path / "x.csv", table())
    saved(tmp_path / "home" / "y.csv", table())
    spec = Arrays(path="x.csv", heldout="~/y.csv").resolved()
    assert spec.path == str(tmp_path / "x.csv")
    assert spec.heldout == str(tmp_path / "home" / "y.csv")
    assert spec.sample == (3,)
    assert spec.columns == NAMES
    assert Arrays(path=("x.csv",)).resolved().path == (str(tmp_path / "x.csv"),)
    (tmp_path / "x.csv").unlink()
    assert spec.resolved() is spec


def test_columns_can_be_named_by_hand(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", table())
    assert loaded(path=path, columns=("a", "b", "c"))[0].value_names == ("a", "b", "c")
    with pytest.raises(BadInputError, match=r"columns: names 2, but the samples of .*x\.npy are \(3,\)"):
        loaded(path=path, columns=("a", "b"))
    with pytest.raises(BadInputError, match="columns: several columns are called 'a'"):
        loaded(path=path, columns=("a", "b", "a"))


@pytest.mark.parametrize(
    ("values", "fields", "message"),
    [
        (np.zeros((9, 2, 2, 2, 2, 2)), {}, "its samples have 5 dimensions; 1 to 4 are possible"),
        (np.zeros((9, 2, 2, 2, 2)), {"channels": "none"}, "its samples have 5 dimensions; 1 to 4 are possible"),
        (np.zeros((9, 3)), {"channels": "last"}, "channels: last has no meaning for"),
        (np.zeros((3, 2)), {}, "holds 3 samples; 2 to train on and 2 held-out ones need 4"),
    ],
)
def test_what_no_run_can_train_on_is_refused(tmp_path: Path, values: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        loaded(path=saved(tmp_path / "x.npy", values), **fields)


def test_no_path_at_all_is_refused() -> None:
    with pytest.raises(BadInputError, match="path: must name a file"):
        loaded(path=())


def test_files_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "x.npy", np.zeros((9, 3))), saved(tmp_path / "y.npy", np.zeros((9, 2)))
    with pytest.raises(BadInputError, match=r"y\.npy: its samples have shape \(2,\), those of .*x\.npy \(3,\)"):
        loaded(path=(one, other))
    with pytest.raises(BadInputError, match=r"y\.npy: its samples have shape \(2,\), those of .*x\.npy \(3,\)"):
        loaded(path=one, heldout=other)
    with pytest.raises(BadInputError, match=r"y\.npy: holds 1 held-out sample; at least 2"):
        loaded(path=one, heldout=saved(tmp_path / "y.npy", np.zeros((1, 3))))
    with pytest.raises(BadInputError, match=r"its samples have shape \(1,\), where data\.sample is \(3,\)"):
        Arrays(path=saved(tmp_path / "z.npy", np.zeros(9)), sample=(3,)).load(CPU)


@pytest.mark.parametrize("place", ["first", "second", "heldout"])
def test_a_nan_is_named_by_its_own_file_and_row(tmp_path: Path, place: str) -> None:
    values = {name: table(10) for name in ("first", "second", "heldout")}
    values[place][6, 1] = np.nan
    first, second, heldout = (saved(tmp_path / f"{name}.npy", part) for name, part in values.items())
    with pytest.raises(BadInputError, match=rf"{place}\.npy: holds a value that is not finite, in row 7, column 2"):
        loaded(path=(first, second), heldout=heldout)


def test_a_constant_column_is_told_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = table()
    values[:, 1] = 0.3
    spec, dataset = loaded(path=saved(tmp_path / "x.csv", values))
    assert "column or channel angle is constant; every sample gets 0.3" in caplog.text
    samples = spec.decoded(torch.randn(50, 3), dataset.state_dict())
    assert (samples[:, 1] == 0.3).all()


def test_samples_stay_in_memory_only_where_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "x.npy", table())
    assert loaded(path=path)[1].samples.is_resident
    monkeypatch.setattr(arrays, "free_memory", lambda _: 4 * (4 * 40 * 3))
    assert not loaded(path=path)[1].samples.is_resident
    assert loaded(path=path, resident=True)[1].samples.is_resident


def replaced(path: Path, values: Any) -> None:
    """Writes over a file that may be memory-mapped, as another program would."""
    time = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        np.save(file, values)
        file.truncate()
    os.utime(path, ns=(time + 1, time + 1))


@pytest.mark.parametrize("change", ["values", "shorter", "gone"])
def test_a_file_that_changes_while_it_is_streamed_ends_the_run(tmp_path: Path, change: str) -> None:
    path = Path(saved(tmp_path / "x.npy", table()))
    _, dataset = loaded(path=str(path), resident=False)
    assert dataset.others is not None
    assert not dataset.others.is_resident
    batches = dataset.batches(4, torch.Generator().manual_seed(0))
    next_batch(batches)
    if change == "gone":
        path.unlink()
    else:
        replaced(path, table() + 1 if change == "values" else table(2))
    with pytest.raises(WganError, match=r"x\.npy: has changed while the run trained on it") as caught:
        [next_batch(batches) for _ in range(10)]
    assert caught.value.exit_code == ExitCode.RUN_FAILED


def test_a_file_that_is_in_memory_may_change(tmp_path: Path) -> None:
    path = Path(saved(tmp_path / "x.csv", table()))
    _, dataset = loaded(path=str(path), resident=False)
    batches = dataset.batches(4, torch.Generator().manual_seed(0))
    path.unlink()
    assert all(next_batch(batches).isfinite().all() for _ in range(12))


def config_of(data: str, *more: str, iterations: int = 2) -> RunConfig:
    tiny = ("generator.hidden=[4]", "critic.hidden=[4]", "training.batch_size=4", "training.n_critic=1")
    every = ("output.log_every=2", "output.sample_every=2", "output.checkpoint_every=2", "latent.dim=2")
    return load_config("normal_gp", [*tiny, *every, f"data={data}", f"training.iterations={iterations}", *more])


def test_a_run_whose_data_is_gone_still_samples(tmp_path: Path) -> None:
    path = Path(saved(tmp_path / "x.csv", table()))
    run = wgan.train(config_of(f"{{kind: arrays, path: {path}}}"), tmp_path / "run", device="cpu")
    before = wgan.load_run(run, device="cpu")
    expected = before.decode(before.sample(range(5)))
    path.unlink()
    after = wgan.load_run(run, device="cpu")
    assert after.decode(after.sample(range(5))).tolist() == expected.tolist()
    assert after.config.data.value_names == NAMES
    assert (expected[:, 2] == expected[:, 2].round()).all()


@pytest.mark.parametrize("scale", ["standardise", "none"])
@pytest.mark.parametrize(
    "change", [lambda values: values[::-1].copy(), lambda values: values + 1e-9 * (values == values.max())]
)
def test_a_run_refuses_to_go_on_with_other_values(tmp_path: Path, scale: str, change: Callable[[Any], Any]) -> None:
    path = Path(saved(tmp_path / "x.npy", table()))
    data = f"{{kind: arrays, path: {path}, scale: {scale}}}"
    run = wgan.train(config_of(data), tmp_path / "run", device="cpu")
    saved(path, change(table()))
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with pytest.raises(BadInputError, match="the data has changed since the run began"):
        wgan.train(config_of(data, iterations=4), run, resume=True, device="cpu")
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_a_run_goes_on_with_the_same_values_elsewhere(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", table())
    run = wgan.train(config_of(f"{{kind: arrays, path: {path}}}"), tmp_path / "run", device="cpu")
    moved = tmp_path / "moved.npy"
    Path(path).rename(moved)
    config = config_of(f"{{kind: arrays, path: {moved}, resident: false}}", iterations=4)
    assert wgan.load_run(wgan.train(config, run, resume=True, device="cpu"), device="cpu").step == 4


def test_a_run_refuses_another_share_of_held_out_samples(tmp_path: Path) -> None:
    data = f"{{kind: arrays, path: {saved(tmp_path / 'x.npy', table())}"
    run = wgan.train(config_of(data + "}"), tmp_path / "run", device="cpu")
    with pytest.raises(BadInputError, match="the data has changed since the run began"):
        wgan.train(config_of(data + ", heldout: 0.5}", iterations=4), run, resume=True, device="cpu")


def test_a_header_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loaded(path=saved(tmp_path / "x.csv", table()))
    assert "its first line is taken as a header: energy, angle, hits" in caplog.text


@pytest.mark.parametrize("channels", ["none", "last"])
def test_plain_numbers_have_no_channels(tmp_path: Path, channels: str) -> None:
    np.save(tmp_path / "x.npy", np.arange(20.0))
    with pytest.raises(BadInputError, match=f"channels: {channels} has no meaning for .*, whose samples are"):
        Arrays(path=str(tmp_path / "x.npy"), channels=channels).resolved()  # type: ignore[arg-type]
