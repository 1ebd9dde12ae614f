"""Tables with columns of text: some are left out, one may be the class."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from tests.conftest import Wgan
from wgan_cli.conditions import Labels
from wgan_cli.data.arrays import Arrays
from wgan_cli.data.sample_files import open_samples
from wgan_cli.data.survey import survey
from wgan_cli.data.tables import read_column, text_columns
from wgan_cli.errors import BadInputError

CPU = torch.device("cpu")
COUNT = 60
KINDS = ["electron", "muon", "pion, charged"]
MLP = [
    "generator={kind: mlp, hidden: [8]}",
    "critic={kind: mlp, hidden: [8]}",
    "training={iterations: 2, batch_size: 8}",
]


def columns() -> dict[str, list[str] | list[float]]:
    """Of which `energy` tells the class."""
    return {
        "id": [f"event{i}" for i in range(COUNT)],
        "energy": [i % 3 + i / 1000 for i in range(COUNT)],
        "kind": [KINDS[i % 3] for i in range(COUNT)],
        "hits": [float(7 * i % COUNT) for i in range(COUNT)],
    }


def written(path: Path) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.table(columns()), path)
    else:
        rows = zip(*columns().values(), strict=True)
        lines = [",".join(f'"{cell}"' if isinstance(cell, str) else str(cell) for cell in row) for row in rows]
        path.write_text("\n".join(["id,energy,kind,hits", *lines]))
    return path


@pytest.fixture(params=["x.csv", "x.parquet"])
def table(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return written(tmp_path / request.param)


def test_wanted_columns_are_read(table: Path) -> None:
    found = open_samples(table, wanted=lambda name: name not in ("id", "kind"))
    assert found.names == ("energy", "hits")
    assert found.values.tolist() == [[i % 3 + i / 1000, 7 * i % COUNT] for i in range(COUNT)]
    assert found.left_out == ("id", "kind")
    assert text_columns(table) == ("id", "kind")


def test_a_column_of_text_is_named_with_its_remedy(table: Path) -> None:
    with pytest.raises(BadInputError, match=r"\(?id\)? holds .*, which (is|are) no numbers?; drop: \[id(, kind)?\]"):
        open_samples(table)


def test_a_column_may_be_the_class(table: Path) -> None:
    spec = Arrays(path=str(table), labels="kind", drop=("id",), scale="none").resolved()
    assert (spec.columns, spec.class_names) == (("energy", "hits"), tuple(KINDS))
    dataset = Labels().attach(spec.load(CPU), spec)
    for heldout in (False, True):
        samples, condition = dataset.pairs(COUNT, torch.Generator().manual_seed(0), heldout=heldout)
        assert torch.equal(condition.argmax(1), samples[:, 0].long())


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_codes_are_no_numbers(tmp_path: Path, ending: str) -> None:
    codes = ["01", "1", "12345678901234567", "12345678901234568"] * 5
    path = tmp_path / f"x.{ending}"
    if ending == "csv":
        path.write_text("code,a\n" + "".join(f"{code},{i}\n" for i, code in enumerate(codes)))
    else:
        parquet.write_table(pyarrow.table({"code": codes, "a": np.arange(20.0)}), path)
    assert Arrays(path=str(path), labels="code").resolved().class_names == tuple(codes[:4])


def test_a_column_of_parquet_is_not_taken_for_one_with_a_point_in_its_name(tmp_path: Path) -> None:
    columns = {"a": [1.0, 2.0], "a.b": ["x", "y"], "text": ["u", "v"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    file = open_samples(tmp_path / "x.parquet", wanted=lambda name: name == "a")
    assert (file.names, file.values.tolist(), file.left_out) == (("a",), [[1.0], [2.0]], ("a.b", "text"))
    assert read_column(tmp_path / "x.parquet", "a.b").tolist() == ["x", "y"]


def test_other_columns_of_parquet_are_left_out_or_classes(tmp_path: Path, wgan: Wgan) -> None:
    days = [date(2026, 1, 1 + i % 2) for i in range(20)]
    kinds = pyarrow.array([["a", "b"][i % 2] for i in range(20)]).dictionary_encode()
    truths = [i % 2 == 0 for i in range(20)]
    table = pyarrow.table({"day": days, "kind": kinds, "ok": truths, "x": np.arange(20.0)[::-1]})
    parquet.write_table(table, tmp_path / "x.parquet")
    found = survey(tmp_path / "x.parquet")
    assert found.spec.model_dump(include={"labels", "drop"}) == {"labels": "day", "drop": ("kind",)}
    assert found.spec.class_names == ("2026-01-01", "2026-01-02")
    assert list(found.facts["columns"]) == ["ok", "x"]
    assert Arrays(path=str(tmp_path / "x.parquet"), labels="ok", drop=("day", "kind")).resolved().class_names == (
        "False",
        "True",
    )


def test_mixed_columns_are_left_out_and_single_mistakes_named(tmp_path: Path) -> None:
    rows = [f"{i},{'A/5 ' * (i % 3 == 0)}{i},{'red' if i == 13 else i}\n" for i in range(30)]
    (tmp_path / "x.csv").write_text("id,ticket,fare\n" + "".join(rows))
    assert text_columns(tmp_path / "x.csv") == ("ticket",)
    told = r"\(fare\) holds 'red', .* or leave all such columns out by drop: \[fare\], beside those that it names,"
    with pytest.raises(BadInputError, match=told):
        survey(tmp_path / "x.csv")
    with pytest.raises(
        BadInputError,
        match=r"\(ticket\) holds 'A/5 0', .*; drop: \[ticket, fare\] in a config, or --drop ticket,fare leaves all",
    ):
        open_samples(tmp_path / "x.csv")


def test_no_two_columns_have_one_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x,l,l\n" + "1,a,b\n" * 9)
    for fields in ({"labels": "l"}, {"drop": ("l",)}):
        with pytest.raises(BadInputError, match="several columns are called 'l'"):
            Arrays(path=str(tmp_path / "x.csv"), **fields).resolved()  # type: ignore[arg-type]
    (tmp_path / "y.csv").write_text("x,l,y\n" + "1,a,2\n" * 9)
    with pytest.raises(BadInputError, match="columns and labels: several columns are called 'l'"):
        Arrays(path=str(tmp_path / "y.csv"), labels="l", columns=("l", "y")).resolved()


def test_blanks_at_the_end_of_lines_are_no_cells(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x l y \n0.5 1 2 \n\n  \n0.7 0 3 \n")
    assert open_samples(tmp_path / "x.csv", wanted=lambda name: name != "l").values.tolist() == [[0.5, 2], [0.7, 3]]


def test_whole_numbers_may_be_the_class(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("digit,a\n10, 1\n9.0,2\n10,3\n9,4\n")
    spec = Arrays(path=str(tmp_path / "x.csv"), labels="digit").resolved()
    assert (spec.class_names, spec.sample) == (("9", "10"), (1,))
    (tmp_path / "y.csv").write_text("digit,a\n1.5,1\n9,2\n")
    with pytest.raises(BadInputError, match="digit: holds float64 values; labels are whole numbers or text"):
        Arrays(path=str(tmp_path / "y.csv"), labels="digit").resolved()


@pytest.mark.parametrize("held", ["with its classes", "without"])
def test_held_out_tables_have_the_same_columns_left_out(tmp_path: Path, held: str) -> None:
    train = written(tmp_path / "x.csv")
    other = written(tmp_path / "other.csv")
    if held == "without":
        other.write_text("hits,energy\n" + "".join(f"{i},1\n" for i in range(9)))
    spec = Arrays(path=str(train), labels="kind", drop=("id",), heldout=str(other)).resolved()
    dataset = spec.load(CPU)
    assert (dataset.labelled(heldout=True) is None) == (held == "without")


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        ("a,b\n1,x\n", {"drop": ("c",)}, "drop: .*x.csv: has no column c; its columns are a, b"),
        ("a,b\n1,x\n", {"labels": "c", "drop": ("b",)}, "labels: .*x.csv: has no column c; its columns are a, b"),
        ("1,2\n3,4\n", {"drop": ("a",)}, "drop: .*x.csv: has no column a; it is no table with a header"),
        ("a,b\n1,x\n", {"drop": ("a", "b")}, "none of its columns is left"),
        ("a,b\n1,x\n,y\n", {"drop": ("b",)}, r"line 3, column 1 \(a\) is empty"),
        ("a,b\n1,x\n1,y,2\n", {"drop": ("b",)}, "line 3 has 3 values, the lines before it 2"),
        ("a,b\n1,x\n1\n", {"drop": ("b",)}, "line 3 has 1 values, the lines before it 2"),
        ("a,b\n1,x\n2,\n", {"labels": "b"}, "column b has empty cells"),
        ("a,b\n1,2\n", {"drop": ("b",), "columns": ("a", "b")}, "columns: names 2, but the samples"),
    ],
)
def test_bad_columns_are_refused(tmp_path: Path, content: str, fields: dict[str, object], message: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(BadInputError, match=message):
        Arrays(path=str(tmp_path / "x.csv"), **fields).resolved()  # type: ignore[arg-type]


def test_decimals_after_a_comma_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a;b\n-1,5;x\n,5;y\n")
    assert text_columns(tmp_path / "x.csv") == ("b",)
    with pytest.raises(
        BadInputError, match=r"column 1 \(a\) holds '-1,5', which is no number; write its decimals after"
    ):
        survey(tmp_path / "x.csv")


def test_columns_are_left_out_of_tables_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((9, 2)))
    with pytest.raises(BadInputError, match="it is no table with a header"):
        Arrays(path=str(tmp_path / "x.npy"), drop=("a",)).resolved()


def test_a_column_is_read_with_its_quotes_and_blanks(table: Path) -> None:
    assert read_column(table, "kind").tolist() == columns()["kind"]
    assert read_column(table, "hits").tolist() == columns()["hits"]
    with pytest.raises(ValueError, match="has no column kinds, but id, energy, kind, hits"):
        read_column(table, "kinds")


def test_a_survey_finds_the_class_and_what_to_leave_out(table: Path) -> None:
    found = survey(table)
    assert found.facts["classes"] == dict.fromkeys(KINDS, 20)
    assert found.facts["columns without numbers"] == ["id"]
    assert list(found.facts["columns"]) == ["energy", "hits"]
    assert found.yaml_lines() == f"data: {{kind: arrays, path: {table}, labels: kind, drop: [id]}}"


def test_a_column_that_counts_the_rows_is_told(wgan: Wgan, tmp_path: Path) -> None:
    rows = [f"{1000 + 2 * i},{i % 7},{i / 3}\n" for i in range(30)]
    (tmp_path / "x.csv").write_text("event,a,b\n" + "".join(rows))
    told = "x.csv: event counts up from row to row, as an id does, so drop leaves it out"
    done = wgan("data", tmp_path / "x.csv")
    assert "drop: [event]}" in done.out
    assert told in done.err
    assert "count up" not in done.out
    (tmp_path / "x.csv").write_text("event,a,b\n" + "".join(rows[::-1]))
    assert "counts up" not in wgan("data", tmp_path / "x.csv").err


def test_text_with_empty_cells_or_rare_values_is_no_class(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b,c\n" + "".join(f"{i},{'x' * (i % 2)},word{i % 9}\n" for i in range(20)))
    found = survey(tmp_path / "x.csv")
    assert "classes" not in found.facts
    assert found.facts["columns without numbers"] == ["b", "c"]


def test_samples_have_the_column_of_their_class(wgan: Wgan, table: Path) -> None:
    sets = [f"--set={text}" for text in (*MLP, f"data={{kind: arrays, path: {table}, labels: kind, drop: [id]}}")]
    wgan("train", "table_gp", *sets, "--set=condition={kind: labels}", "--out", "run")
    wgan("sample", "run", "--class", "muon,electron", "--num", "2", "--out", f"new{table.suffix}")
    new = survey(Path(f"new{table.suffix}"))
    assert new.facts["columns without numbers"] == ["kind"]
    assert list(new.facts["columns"]) == ["energy", "hits"]
    assert read_column(Path(f"new{table.suffix}"), "kind").tolist() == ["muon"] * 2 + ["electron"] * 2
    wgan("sample", "run", "--num", "50", "--out", "new.npz")
    with np.load(Path("new.npz")) as arrays:
        assert set(arrays["labels"].tolist()) == set(KINDS)
    assert survey(Path("new.npz")).spec.class_names == tuple(KINDS)


def test_classes_that_are_whole_numbers_are_written_as_such(wgan: Wgan, tmp_path: Path) -> None:
    table = tmp_path / "x.parquet"
    columns = {"k": [11 * (i % 2) - 1 for i in range(40)], "x": np.arange(40.0), "y": np.arange(40.0)}
    parquet.write_table(pyarrow.table(columns), table)
    sets = [f"--set={text}" for text in (*MLP, f"data={{kind: arrays, path: {table}, labels: k}}")]
    wgan("train", "table_gp", *sets, "--set=condition={kind: labels}", "--out", "run")
    wgan("sample", "run", "--class=10,-1", "--num=1", "--out=new.parquet")
    assert parquet.read_table("new.parquet")["k"].to_pylist() == [10, -1]
    wgan("sample", "run", "--class=10,-1", "--num=1", "--out=new.npz")
    assert np.load("new.npz")["labels"].tolist() == [10, -1]
    assert wgan("distance", str(table), "new.parquet").code == 0


def test_runs_without_classes_write_none(wgan: Wgan, table: Path) -> None:
    sets = [f"--set={text}" for text in (*MLP, f"data={{kind: arrays, path: {table}, labels: kind, drop: [id]}}")]
    wgan("train", "table_gp", *sets, "--out", "run")
    wgan("sample", "run", "--num", "3", "--out", "new.csv")
    assert open_samples(Path("new.csv")).names == ("energy", "hits")


def test_a_distance_leaves_columns_out(wgan: Wgan, table: Path) -> None:
    result = wgan("distance", str(table), str(table), "--drop", "id, kind", "--json")
    assert '"features": 2' in result.out
    assert '"w1": 0.0' in result.out
    refused = wgan("distance", str(table), str(table), "--drop", "id,kind,no")
    assert "--drop id,kind,no: no table has a column no" in refused.err


def test_given_values_stand_beside_columns_of_text(wgan: Wgan) -> None:
    table = written(Path("x.csv"))
    sets = [f"--set={text}" for text in (*MLP, f"data={{kind: arrays, path: {table}, drop: [id, kind]}}")]
    wgan("train", "table_gp", *sets, "--set=condition={kind: columns, names: [energy]}", "--out", "run")
    wgan("sample", "run", "--given-from", "x.csv", "--out", "new.csv")
    given = open_samples(Path("new.csv")).values[:, 0]
    assert given == pytest.approx(columns()["energy"], abs=1e-6)
    refused = wgan("sample", "run", "--given-from", "new.npz")
    assert "new.npz" in refused.err
    (Path("y.csv")).write_text("hits\n1\n")
    refused = wgan("sample", "run", "--given-from", "y.csv")
    assert "--given-from y.csv: has no column energy; its columns are hits" in refused.err


def test_an_evaluation_has_the_distance_within_each_class(wgan: Wgan, table: Path) -> None:
    data = f"data={{kind: arrays, path: {table}, labels: kind, drop: [id], heldout: 0.5}}"
    wgan(
        "train", "table_gp", *(f"--set={text}" for text in (*MLP, data)), "--set=condition={kind: labels}", "--out=run"
    )
    found = json.loads(wgan("evaluate", "run", "--json").out)
    counts = [found[f"condition/{kind}/samples"] for kind in KINDS if f"condition/{kind}/w1" in found]
    assert 2 <= len(counts) <= 3
    assert sum(counts) <= found["samples"] == 15


def patients(path: Path, missing: str) -> None:
    """Of 40 rows, every fourth without a crp; with two columns of text that look like classes, and one with a gap."""
    rows = [
        f"P{i},{30 + i % 7},{missing if i % 4 == 0 else i / 10},{'FM'[i % 2]},{['ill', 'well', 'unclear'][i % 3]},"
        f"{'' if i == 5 else 'xy'[i % 2]}\n"
        for i in range(40)
    ]
    path.write_text("id,age,crp,sex,diagnosis,ward\n" + "".join(rows))


@pytest.mark.parametrize("missing", ["NA", "n/a", "?", "-", ""])
def test_missing_values_do_not_make_a_column_text(tmp_path: Path, wgan: Wgan, missing: str) -> None:
    patients(tmp_path / "p.csv", missing)
    assert text_columns(tmp_path / "p.csv") == ("id", "sex", "diagnosis", "ward")
    refused = wgan("data", tmp_path / "p.csv")
    assert refused.code == 2
    what = f"holds '{missing}', which stands for a missing value" if missing else "is empty"
    assert (
        f"line 2, column 3 (crp) {what}; fill or remove it, or leave all such columns out by drop: [crp], beside"
        in refused.err
    )


@pytest.mark.parametrize("missing", ["NA", "none", ""])
def test_a_column_without_any_value_is_left_out(tmp_path: Path, wgan: Wgan, missing: str) -> None:
    (tmp_path / "x.csv").write_text("a,empty,b\n" + "".join(f"{i % 5},{missing},{i % 3}\n" for i in range(40)))
    done = wgan("data", tmp_path / "x.csv")
    assert done.out.endswith("drop: [empty]}\n")
    assert "columns without numbers are left out by drop: empty" in done.err


def test_what_is_told_of_a_table_is_what_is_learned(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,a\n" + "".join(f"{500 + i},{i % 5}\n" for i in range(40)))
    found = survey(tmp_path / "x.csv")
    assert (found.facts["shape"], found.facts["range"], list(found.facts["columns"])) == ([1], [0, 4], ["a"])
    assert found.spec.sample_shape == (1,)


def test_a_table_with_gaps_becomes_a_config_without_them(tmp_path: Path, wgan: Wgan) -> None:
    patients(tmp_path / "p.csv", "NA")
    done = wgan("init", "--data", tmp_path / "p.csv", "--drop", "crp")
    assert done.code == 0, done.err
    assert "p.csv: columns without numbers are left out by drop: id, diagnosis, ward" in done.err
    assert "p.csv: labels takes sex for the class; it could be diagnosis as well" in done.err
    assert (
        f"path: {tmp_path / 'p.csv'}, labels: sex, drop: [crp, id, diagnosis, ward]" in Path("config.yaml").read_text()
    )
    assert wgan("data", tmp_path / "p.csv", "--drop", "crp").out.endswith("drop: [crp, id, diagnosis, ward]}\n")
    wrong = wgan("data", tmp_path / "p.csv", "--drop", "crq")
    assert wrong.code == 2
    assert "p.csv: has no column crq; its columns are id, age" in wrong.err
    assert "--drop: names columns of --data, which is missing" in wgan("init", "--drop", "crp").err


def test_a_config_for_data_that_no_run_takes_is_not_recommended(tmp_path: Path, wgan: Wgan) -> None:
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i % 5},{'nan' if i == 7 else i % 3}\n" for i in range(40)))
    done = wgan("init", "--data", tmp_path / "x.csv")
    assert "values are missing (1)" in done.err
    assert "next:" not in done.err
