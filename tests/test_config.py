import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wgan_cli import shipped
from wgan_cli.config import RunConfig, config_from_dict, load_config
from wgan_cli.errors import BadInputError, ExitCode

GOOD = """\
seed: 3
data: {kind: normal}
latent: {dim: 4}
generator: {kind: mlp}
critic: {kind: mlp}
lipschitz: {kind: gp, weight: 10}
optimizer:
  generator: {kind: adam, lr: 1e-4, betas: [0, 0.9]}
  critic: {kind: rmsprop, lr: 5.0e-5}
training:
  iterations: 1_000
  batch_size: 64
"""


Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return to_file


def faults(path: str, *overrides: str) -> list[str]:
    with pytest.raises(BadInputError) as caught:
        load_config(path, overrides)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return str(caught.value).splitlines()


def test_numbers_are_numbers(write: Write) -> None:
    config = load_config(write(GOOD))
    assert config.optimizer.generator.lr == 1e-4
    assert config.training.iterations == 1000
    betas = config.model_dump()["optimizer"]["generator"]["betas"]
    assert betas == (0.0, 0.9)
    assert all(isinstance(beta, float) for beta in betas)  # Adam refuses betas of mixed int and float


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        ("seed: 3", "sede: 3", 1, ["sede: unknown key", "did you mean seed?"]),
        ("{dim: 4}", "{dim: 4, kindd: normal}", 3, ["latent.kindd: unknown key", "did you mean kind?"]),
        ("weight: 10", "wieght: 10", 6, ["lipschitz.wieght: unknown key", "did you mean weight?"]),
        ("lr: 1e-4", "learning_rate: 1e-4", 8, ["generator.learning_rate: unknown key", "allowed: kind, lr"]),
        ("lr: 5.0e-5", "lr: fast", 9, ["optimizer.critic.lr: must be a valid number", '"fast"']),
        ("kind: gp", "kind: pg", 6, ["lipschitz.kind: unknown: pg", "allowed: none, clip, gp"]),
        ("{kind: gp, weight: 10}", "{weight: 10}", 6, ["lipschitz: kind is missing"]),
        ("{kind: gp, weight: 10}", "gp", 6, ["lipschitz: must be a mapping"]),
        ("latent: {dim: 4}\n", "", None, ["latent: is missing"]),
        ("iterations: 1_000", "iterations: 0", 11, ["training.iterations: must be greater than or equal to 1"]),
        ("iterations: 1_000", "iterations: 1.5", 11, ["training.iterations: must be a valid integer", "1.5"]),
        ("iterations: 1_000", "iterations: yes", 11, ["training.iterations: must be a valid integer", '"yes"']),
        ("iterations: 1_000", "iterations: true", 11, ["training.iterations: must be a valid integer"]),
        ("weight: 10", "weight: .nan", 6, ["lipschitz.weight: must be a finite number"]),
        ("weight: 10", "weight: -.inf", 6, ["lipschitz.weight: must be a finite number"]),
        ("weight: 10", "weight: -1", 6, ["lipschitz.weight: must be greater than 0"]),
        ("[0, 0.9]", "[0, 1.0]", 8, ["optimizer.generator.betas.1: must be less than 1"]),
        ("[0, 0.9]", "[0, 0.9, 1]", 8, ["optimizer.generator.betas: must have 2 items"]),
        ("batch_size: 64", "batch_size: 64\n  batch_size: 32", 13, ["training.batch_size: is given twice"]),
        ("seed: 3", "seed: 3\nseed: 3", 2, ["seed: is given twice"]),
        ("kind: normal", "kind: no", 2, ["data.kind: unknown: no", "allowed: normal, mnist"]),
        ("{dim: 4}", "{dim: 4", 4, ["not valid YAML"]),
        ("seed: 3", "seed: !!python/object/apply:os.system [id]", 1, ["tags such as", "not allowed"]),
        ("seed: 3", "seed: !!python/name:os.system", 1, ["tags such as", "not allowed"]),
        ("seed: 3", "seed: &a 3\ndata: *a", 2, ["aliases", "not allowed"]),
        ("critic: {kind: mlp}", "critic: {kind: mlp, norm: batch}", 5, ["critic.norm: batch mixes", "layer or"]),
        ("critic: {kind: mlp}", "critic: {kind: conv}", 5, ["critic.kind: conv needs images", "use mlp"]),
        ("generator: {kind: mlp}", "generator: {kind: conv}", 4, ["generator.kind: conv needs images"]),
        ("{kind: adam, lr: 1e-4, betas: [0, 0.9]}", "{kind: adam}", 8, ["optimizer.generator.lr: is missing"]),
    ],
)  # fmt: skip
def test_each_fault_is_located(write: Write, old: str, new: str, line: int | None, parts: list[str]) -> None:
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1))
    fault = next(fault for fault in faults(path) if parts[0] in fault)
    assert fault.startswith(f"{path}:{line}: " if line else path)
    assert all(part in fault for part in parts)


def test_all_faults_are_told_at_once(write: Write) -> None:
    lines = faults(write(GOOD.replace("seed: 3", "seed: x").replace("weight: 10", "weight: -1")))
    assert len(lines) == 2


@pytest.mark.parametrize("text", ['seed: "\\ud800"', '"\\ud800": 1', "seed: " + "[" * 230 + "]" * 230])
def test_what_json_cannot_hold_is_refused(write: Write, text: str) -> None:
    assert all("run.yaml" in fault and len(fault) < 300 for fault in faults(write(text)))


def test_a_key_that_set_made_is_told_there(write: Write) -> None:
    assert faults(write(GOOD), "trainng.iterations=3")[0].startswith("--set trainng.iterations=3: trainng: unknown key")


def test_long_values_are_cut(write: Write) -> None:
    assert all(len(fault) < 400 for fault in faults(write(GOOD), "seed=" + "9" * 4000))


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- b\n", "just words", "3", "\x00", "a: [" * 5000])
def test_what_is_no_mapping_is_refused(write: Write, text: str) -> None:
    (fault,) = faults(write(text))
    assert "run.yaml" in fault


def test_an_alias_bomb_is_refused_at_its_first_alias(write: Write) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    (fault,) = faults(write(bomb))
    assert "run.yaml:2: not valid YAML: aliases" in fault


def test_a_batch_larger_than_the_data(write: Write) -> None:
    (fault,) = faults(write(GOOD), "data={kind: mnist, split: test}", "training.batch_size=10001")
    assert fault.endswith("training.batch_size: 10001 is larger than the data, which has 10000 samples")


def test_missing_and_misspelt_files(tmp_path: Path) -> None:
    assert "did you mean mnist_gp?" in faults("mnist_pg")[0]
    assert "no such file" in faults(str(tmp_path / "nothing.yaml"))[0]
    assert "is a folder" in faults(str(tmp_path))[0]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "can't be read as a text file" in faults(str(path))[0]


def test_set_goes_through_the_same_checks(write: Write) -> None:
    path = write(GOOD)
    assert load_config(path, ["training.iterations=7", "seed=1"]).training.iterations == 7
    assert load_config(path, ["lipschitz={kind: clip, bound: 1e-2}"]).lipschitz.kind == "clip"
    assert load_config(path, ["output.keep=5"]).output.keep == 5  # a key that the file doesn't have
    assert faults(path, "training.itertions=7")[0].startswith("--set training.itertions=7: training.itertions: unknown")
    assert "must be a valid integer" in faults(path, "seed=1e-4")[0]
    assert "replace the whole mapping: --set 'lipschitz={kind: ...}'" in faults(path, "lipschitz.kind=clip")[0]


@pytest.mark.parametrize("text", ["seed", "=3", "seed.x=3", "a..b=1", "seed=", "seed=[", "seed=!!python/name:os.x"])
def test_a_bad_set_is_refused(write: Write, text: str) -> None:
    assert faults(write(GOOD), text)[0].startswith(f"--set {text}")


@pytest.mark.parametrize("name", shipped.names())
def test_what_is_written_out_is_read_back(name: str, write: Write) -> None:
    config = load_config(name)
    assert load_config(write(config.to_yaml())) == config
    assert config_from_dict(json.loads(json.dumps(config.to_dict())), "a checkpoint") == config


def test_differences_name_the_keys_that_may_not_change(write: Write) -> None:
    path = write(GOOD)
    config = load_config(path)
    assert config.differences(load_config(path, ["training.iterations=9", "output.keep=9"])) == []
    other = load_config(path, ["seed=4", "lipschitz={kind: clip}"])
    assert config.differences(other) == sorted(
        ["seed", "lipschitz.kind", "lipschitz.bound", "lipschitz.weight", "lipschitz.target", "lipschitz.sided"]
    )


def test_warns_of_a_wasserstein_critic_that_nothing_bounds(write: Write) -> None:
    path = write(GOOD)
    assert not list(load_config(path).warnings())
    (warning,) = load_config(path, ["lipschitz={kind: none}"]).warnings()
    assert "unbounded" in warning
    assert not list(load_config(path, ["lipschitz={kind: none}", "objective={kind: gan}"]).warnings())


def test_the_schema_that_ships_is_the_configs_own() -> None:
    assert json.loads((shipped.FOLDER / "schema.json").read_text()) == RunConfig.model_json_schema()


@pytest.mark.parametrize("name", shipped.names())
def test_the_schema_accepts_what_ships_and_names_itself(name: str) -> None:
    import jsonschema

    text = (shipped.FOLDER / f"{name}.yaml").read_text()
    assert "# yaml-language-server: $schema=schema.json" in text
    validator = jsonschema.Draft202012Validator(RunConfig.model_json_schema())
    validator.validate(yaml.safe_load(text))
    assert list(validator.iter_errors({**yaml.safe_load(text), "sede": 1}))


@given(st.text(max_size=200))
def test_no_text_ends_in_a_traceback(text: str) -> None:
    try:
        load_config("normal_gp", [f"latent={text}"])
    except BadInputError as error:
        assert "--set latent=" in str(error)  # noqa: PT017
