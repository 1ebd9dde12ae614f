import pytest

from tests.config.conftest import Write
from tests.config.helpers import check_fault, faults
from wgan_cli.config.documents import Document
from wgan_cli.errors import BadInputError


def message(text: str) -> str:
    with pytest.raises(BadInputError) as caught:
        Document("run.yaml", text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),  # a word in YAML 1.1
        ("1_000", 1000),
        ("+3", 3),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -float("inf")),
        ("true", True),
        ("no", "no"),  # false in YAML 1.1
        ("on", "on"),
        ("1:30", "1:30"),  # a number to the base of 60 in YAML 1.1
        ("2026-01-02", "2026-01-02"),
        ('"1"', "1"),
        ("~", None),
        ("", None),
        ("[1, a]", [1, "a"]),
        ("{b: {c: 2}}", {"b": {"c": 2}}),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    tree = Document("run.yaml", f"a: {text}").tree
    assert tree == {"a": value}
    assert type(tree["a"]) is type(value)


def test_each_key_has_its_line() -> None:
    document = Document("run.yaml", "a:\n  b: 1\n\n  c:\n  - 7\n  - 8\nd: {e: 2}\n")
    for key, line in ((("a",), 1), (("a", "b"), 2), (("a", "c"), 4), (("a", "c", 1), 6), (("d", "e"), 7)):
        assert document.located(key, "is odd") == f"run.yaml:{line}: {'.'.join(map(str, key))}: is odd"
    assert document.located(("a", "x"), "is missing") == "run.yaml:1: a.x: is missing"  # where its mapping is
    assert document.located((), "is odd") == "run.yaml:1: is odd"


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        ("batch_size: 64", "batch_size: 64\n  batch_size: 32", 13, ["training.batch_size: is given twice"]),
        ("seed: 3", "seed: 3\nseed: 3", 2, ["seed: is given twice"]),
        ("{dim: 4}", "{dim: 4", 4, ["not valid YAML"]),
        ("seed: 3", "seed: !!python/object/apply:os.system [id]", 1, ["tags such as", "not allowed"]),
        ("seed: 3", "seed: !!python/name:os.system", 1, ["tags such as", "not allowed"]),
        ("seed: 3", "seed: &a 3\ndata: *a", 2, ["aliases", "not allowed"]),
    ],
)
def test_each_fault_is_located(write: Write, old: str, new: str, line: int, parts: list[str]) -> None:
    check_fault(write(old=old, new=new), line, *parts)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- b\n", "just words", "3", "\x00", "a: [" * 5000])
def test_other_documents_than_a_mapping_are_refused(write: Write, text: str) -> None:
    (fault,) = faults(write(text))
    assert "run.yaml" in fault


def test_a_key_must_be_a_plain_word() -> None:
    assert message("a: 1\n[b]: 2") == "run.yaml:2: a key must be a plain word"


def test_a_number_beyond_python_is_located() -> None:
    assert message("a: 1\nb: " + "9" * 5000) == f"run.yaml:2: {'9' * 37}...: has too many digits"


def test_a_zero_byte_is_located() -> None:
    assert message('a: 1\nb: "x\\0y"').startswith("run.yaml:2: holds a zero byte")


def test_an_alias_bomb_is_refused_at_its_first_alias(write: Write) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    (fault,) = faults(write(bomb))
    assert "run.yaml:2: not valid YAML: aliases" in fault


def test_an_override_sets_one_key() -> None:
    document = Document("run.yaml", "a: {b: 1, c: 2}\n")
    for text in ("a.b=1e-3", "d.e.f=[x]", "a.g={h: null}"):
        document.override(text)
    assert document.tree == {"a": {"b": 1e-3, "c": 2, "g": {"h": None}}, "d": {"e": {"f": ["x"]}}}
    assert document.located(("a", "b"), "is odd") == "--set a.b=1e-3: a.b: is odd"
    assert document.located(("a", "c"), "is odd") == "run.yaml:1: a.c: is odd"


def test_a_mapping_replaces_a_mapping() -> None:
    document = Document("run.yaml", "a: {b: 1, c: 2}\n")
    document.override("a={b: 3}")
    assert document.tree == {"a": {"b": 3}}


@pytest.mark.parametrize("text", ["seed", "=3", "seed.x=3", "a..b=1", "seed=", "seed=[", "seed=!!python/name:os.x"])
def test_a_bad_override_is_refused(good: str, text: str) -> None:
    assert faults(good, text)[0].startswith(f"--set {text}")
