import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from wgan_cli.data.arrays import Arrays
from wgan_cli.data.sample_files import ENDINGS, open_samples
from wgan_cli.data.survey import survey
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation.points import read_points

VALUES = np.array([[1.0, 2.0], [3.0, 4.5], [-1.0, 0.0]])


def _csv(path: Path) -> None:
    path.write_text("first,second\n" + "\n".join(",".join(map(str, row)) for row in VALUES))


def _parquet(path: Path) -> None:
    parquet.write_table(pyarrow.table({"first": VALUES[:, 0], "second": VALUES[:, 1]}), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    ".npy": lambda path: np.save(path, VALUES),
    ".npz": lambda path: np.savez(path, samples=VALUES, seeds=np.arange(3)),
    ".pt": lambda path: torch.save(torch.from_numpy(VALUES), path),
    ".csv": _csv,
    ".tsv": lambda path: (_csv(path), path.write_text(path.read_text().replace(",", "\t"))),
    ".parquet": _parquet,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_format_gives_the_same_samples(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    WRITERS[ending](path)
    samples = open_samples(path).tensor()
    assert samples.dtype == torch.float64
    assert samples.tolist() == VALUES.tolist()


@pytest.mark.parametrize("kind", ENDINGS)
def test_endings_may_be_in_capitals(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / f"x{kind}")
    path = (tmp_path / f"x{kind}").rename(tmp_path / f"X{kind.upper()}")
    assert open_samples(path).tensor().tolist() == VALUES.tolist()
    assert survey(path).facts["samples"] == 3
    assert read_points([str(path)], 3, torch.Generator()).sets[0].tolist() == VALUES.tolist()
    key = "samples" if kind == ".npz" else None
    assert Arrays(path=str(path), key=key).resolved().sample == (2,)


def test_samples_keep_their_shape_and_type(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    np.savez(tmp_path / "x.npz", anything=images)  # the only array needs no name
    samples = open_samples(tmp_path / "x.npz").tensor()
    assert samples.dtype == torch.uint8
    assert samples.tolist() == images.tolist()


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i2", "<i8", np.longdouble])
def test_types_that_torch_lacks_are_read(tmp_path: Path, dtype: Any) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2], [3, -4]], dtype))
    samples = open_samples(tmp_path / "x.npy").tensor()
    assert samples.tolist() == [[1, 2], [3, -4]]
    native = np.dtype(np.float64 if dtype is np.longdouble else dtype).newbyteorder("=")
    assert samples.numpy().dtype == native


@pytest.mark.parametrize("header", ["", "x y", "x, y"])
def test_blanks_separate_numbers_as_numpy_writes_them(tmp_path: Path, header: str) -> None:
    values = np.random.default_rng(0).normal(size=(5, 2))
    np.savetxt(tmp_path / "x.csv", values, header=header)
    found = open_samples(tmp_path / "x.csv")
    assert np.array_equal(found.values, values)
    assert found.names == (("x", "y") if header else None)
    (tmp_path / "y.csv").write_text("  1  2.5 \n\n 3   4e-1\n")
    assert np.array_equal(open_samples(tmp_path / "y.csv").values, [[1, 2.5], [3, 0.4]])
    (tmp_path / "z.csv").write_text("x y\n1 2\n3 a\n")
    with pytest.raises(BadInputError, match=r"line 3, column 2 \(y\) holds 'a', which is no number"):
        open_samples(tmp_path / "z.csv")
    (tmp_path / "one.csv").write_text("energy (GeV)\n1\n2\n")
    assert open_samples(tmp_path / "one.csv").names == ("energy (GeV)",)


def test_a_csv_needs_no_header(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2\n\n3,4\n")
    assert open_samples(tmp_path / "x.csv").tensor().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("\n\na;b\n1;2\n3;4\n", ("a", "b")),
        ("\n1;2\n3;4\n", None),
        ("# a,b\n1,2\n3,4\n", ("a", "b")),
        ('# "a, b";c\n1;2\n3;4\n', ("a, b", "c")),
        ("# 400,410\n1,2\n3,4\n", ("400", "410")),
        ("#a,#b\n1,2\n3,4\n", ("#a", "#b")),
        ('"x, y, z";"say ""a,b,c"""\n1;2\n3;4\n', ("x, y, z", 'say "a,b,c"')),
        ('"x; y; z",w\n1,2\n3,4\n', ("x; y; z", "w")),
    ],
)
def test_the_first_line_tells_separator_and_names(tmp_path: Path, content: str, names: tuple[str, ...] | None) -> None:
    (tmp_path / "x.csv").write_text(content)
    found = open_samples(tmp_path / "x.csv")
    assert found.names == names
    assert found.values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "is_told"),
    [
        ("400,410,420\n0.3,0.2,0.5\n", True),
        ("0,1,2\n7,0,255\n", True),
        ("0\n0.25\n", True),
        ("nan,inf\n1,2\n", True),
        ("0.1,0.2\n0.4,0.3\n", False),
        ("3,1,2\n7,0,255\n", False),
        ("0,0,0\n0,0.5,0\n", False),
        ("1,2,3\n4,5,6\n", False),
        ("5\n3\n", False),
    ],
)
def test_a_header_of_numbers_is_read_as_values_and_told(
    tmp_path: Path, content: str, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """But not of every file without a header, as `wgan distance` of two plain ones has nothing to say."""
    caplog.set_level(logging.INFO, "wgan")
    (tmp_path / "x.csv").write_text(content)
    assert open_samples(tmp_path / "x.csv").values.shape[0] == 2
    first = content.partition("\n")[0].replace(",", ", ")
    assert (
        caplog.messages
        == [f"{tmp_path / 'x.csv'}: has no header in words, so its first line is read as values: {first}"] * is_told
    )


@pytest.mark.parametrize(
    ("content", "names", "rows"),
    [
        (",a,b\n0,5,6\n1,7,8\n", ("a", "b"), [[5, 6], [7, 8]]),
        ('"";a\n0;5\n1;7\n', ("a",), [[5], [7]]),
        ("n,a\n0,5\n1,7\n", ("n", "a"), [[0, 5], [1, 7]]),
        (",a\n1,5\n2,7\n", ("", "a"), [[1, 5], [2, 7]]),
        (",a\n0,5\n2,7\n", ("", "a"), [[0, 5], [2, 7]]),
    ],
)
def test_an_index_in_a_csv_is_left_out(
    tmp_path: Path, content: str, names: tuple[str, ...], rows: list[list[float]], caplog: pytest.LogCaptureFixture
) -> None:
    """As `df.to_csv` writes one; a column that has a name, or counts in another way, is data."""
    caplog.set_level(logging.INFO, "wgan")
    (tmp_path / "x.csv").write_text(content)
    found = open_samples(tmp_path / "x.csv")
    assert (found.names, found.values.tolist()) == (names, rows)
    assert ("is an index and left out" in caplog.text) == (names[0] == "a")


@pytest.mark.parametrize("index", ["__index_level_0__", "day"])
def test_an_index_in_a_parquet_file_is_left_out(tmp_path: Path, index: str, caplog: pytest.LogCaptureFixture) -> None:
    """As `df.to_parquet` writes one that does not just count the rows."""
    caplog.set_level(logging.INFO, "wgan")
    pandas = {"index_columns": [index, {"kind": "range"}], "columns": []}
    table = pyarrow.table({"a": [1.0, 2.0], index: ["mon", "tue"]})
    parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), tmp_path / "x.parquet")
    found = open_samples(tmp_path / "x.parquet")
    assert found.names == ("a",)
    assert found.values.tolist() == [[1], [2]]
    assert f"x.parquet: the index of its table is left out: {index}" in caplog.text


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b, a\n1,2,3\n")
    parquet.write_table(pyarrow.table([[1], [2], [3]], names=["a", "b", "a"]), tmp_path / "x.parquet")
    for ending in ("csv", "parquet"):
        with pytest.raises(
            BadInputError, match=rf"x\.{ending}: several columns are called 'a'; give each its own name"
        ):
            open_samples(tmp_path / f"x.{ending}")


def test_a_parquet_file_of_an_index_alone_is_refused(tmp_path: Path) -> None:
    table = pyarrow.table({"i": [1, 2]}).replace_schema_metadata({"pandas": json.dumps({"index_columns": ["i"]})})
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(BadInputError, match="has no columns beside its index"):
        open_samples(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.npy", None, "no such file"),
        ("x.npy", b"", r"can't be read as \.npy"),
        ("x.npy", b"\x93NUMPY\x01\x00", r"can't be read as \.npy"),
        ("x.npz", b"PK", r"can't be read as \.npz"),
        ("x.pt", b"junk", r"x\.pt: truncated, damaged, or not"),
        ("x.csv", b"a,b\n1,2\n3", r"can't be read as \.csv"),
        ("x.csv", b"a,b\n", r"can't be read as \.csv \(it has no rows of numbers\)"),
        ("x.csv", b"", r"can't be read as \.csv \(it has no rows of numbers\)"),
        ("x.csv", b"1,2\n3,word\n", r"can't be read as \.csv"),
        ("x.csv", b"\na,b\n1,2\n3,word\n", r"line 4, column 2 .* holds 'word'"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        open_samples(tmp_path / name).tensor()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("x.npz", lambda path: np.savez(path, a=VALUES, b=VALUES), "no array `samples`, but a, b"),
        ("x.npy", lambda path: np.save(path, np.array(3.0)), "holds no samples"),
        ("x.npy", lambda path: np.save(path, np.zeros((0, 4))), "holds no samples"),
        (
            "x.npy",
            lambda path: np.save(path, VALUES + 1j),
            "holds complex128 values; only booleans, whole and real",
        ),
        ("x.npy", lambda path: np.save(path, np.array(["word"])), "holds <U4 values; only booleans, whole"),
        ("x.pt", lambda path: torch.save({"samples": torch.ones(3)}, path), "holds a dict, not a tensor"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, name: str, save: Callable[[Path], object], message: str) -> None:
    save(tmp_path / name)
    with pytest.raises(BadInputError, match=message):
        open_samples(tmp_path / name).tensor()


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInputError, match="can't be read"):
        open_samples(tmp_path / "x.npy").tensor()
