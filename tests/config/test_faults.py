"""pydantic's faults in a user's words."""

import pytest

from tests.config.conftest import Write
from tests.config.helpers import check_fault, faults


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        ("seed: 3", "sede: 3", 1, ["sede: unknown key", "did you mean seed?"]),
        ("seed: 3", "n_critic: 3", 1, ["n_critic: unknown key; did you mean training.n_critic or critic?"]),
        ("seed: 3", "lr: 3", 1, ["did you mean optimizer.generator.lr or optimizer.critic.lr?"]),
        ("seed: 3", "kind: 3", 1, ["kind: unknown key; allowed: seed"]),
        ("{dim: 4}", "{dim: 4, kindd: normal}", 3, ["latent.kindd: unknown key", "did you mean kind?"]),
        ("weight: 10", "wieght: 10", 6, ["lipschitz.wieght: unknown key", "did you mean weight?"]),
        ("lr: 1e-4", "learning_rate: 1e-4", 8, ["generator.learning_rate: unknown key", "allowed: kind, lr"]),
        ("lr: 5.0e-5", "lr: fast", 9, ["optimizer.critic.lr: must be a valid number", '"fast"']),
        ("kind: gp", "kind: 😀", 6, ["lipschitz.kind: unknown: 😀"]),
        ("kind: gp", "kind: pg", 6, ["lipschitz.kind: unknown: pg", "allowed: none, clip, gp"]),
        ("{kind: gp, weight: 10}", "{weight: 10}", 6, ["lipschitz: kind is missing", "allowed: none, clip, gp"]),
        ("{kind: gp, weight: 10}", "gp", 6, ["lipschitz: must be a mapping"]),
        ("latent: {dim: 4}\n", "", None, ["latent: is missing"]),
        ("iterations: 1_000", "iterations: 0", 11, ["training.iterations: must be greater than or equal to 1"]),
        ("iterations: 1_000", "iterations: 1.5", 11, ["training.iterations: must be a valid integer", "1.5"]),
        ("iterations: 1_000", "iterations: 1.0e+3", 11, ["must be a valid integer, but is 1000.0; write 1000"]),
        ("[0, 0.9]", "3", 8, ["optimizer.generator.betas: must be a list, such as [3], but is 3"]),
        ("[0, 0.9]", "0.9", 8, ["optimizer.generator.betas: must be a list, but is 0.9"]),
        ("iterations: 1_000", "iterations: 1.0e+300", 11, ["must be a valid integer, but is 1e+300"]),
        ("[0, 0.9]", "none", 8, ['optimizer.generator.betas: must be a list, but is "none"']),
        ("iterations: 1_000", "iterations: yes", 11, ["training.iterations: must be a valid integer", '"yes"']),
        ("iterations: 1_000", "iterations: true", 11, ["training.iterations: must be a valid integer"]),
        ("weight: 10", "weight: .nan", 6, ["lipschitz.weight: must be a finite number"]),
        ("weight: 10", "weight: -.inf", 6, ["lipschitz.weight: must be a finite number"]),
        ("iterations: 1_000", "iterations: 4294967296", 11, ["training.iterations: must be at most 4,294,967,295"]),
        ("dim: 4", "dim: 9007199254740993", 3, ["latent.dim: must be at most 4,294,967,295"]),
        ("weight: 10", "weight: 1.0e300", 6, ["lipschitz.weight: must be at most 1e+38"]),
        ("weight: 10", "weight: -1", 6, ["lipschitz.weight: must be greater than 0"]),
        ("[0, 0.9]", "[0, 1.0]", 8, ["optimizer.generator.betas.1: must be less than 1"]),
        ("[0, 0.9]", "[0, 0.9, 1]", 8, ["optimizer.generator.betas: must have 2 items"]),
        ("kind: normal", "kind: no", 2, ["data.kind: unknown: no", "allowed: normal, points, arrays, images, mnist"]),
        ("{kind: adam, lr: 1e-4, betas: [0, 0.9]}", "{kind: adam}", 8, ["optimizer.generator.lr: is missing"]),
    ],
)  # fmt: skip
def test_each_fault_is_located(write: Write, old: str, new: str, line: int | None, parts: list[str]) -> None:
    check_fault(write(old=old, new=new), line, *parts)


def test_all_faults_are_found_at_once(write: Write, good: str) -> None:
    path = write(old="seed: 3", new="seed: x")
    assert len(faults(path, "lipschitz.weight=-1")) == 2


@pytest.mark.parametrize("text", ['seed: "\\ud800"', '"\\ud800": 1', "seed: " + "[" * 230 + "]" * 230])
def test_values_that_json_cannot_hold_are_refused(write: Write, text: str) -> None:
    assert all("run.yaml" in fault and len(fault) < 300 for fault in faults(write(text)))


def test_a_key_that_set_made_is_located_there(good: str) -> None:
    assert faults(good, "trainng.iterations=3")[0].startswith("--set trainng.iterations=3: trainng: unknown key")


def test_long_values_are_cut(good: str) -> None:
    assert all(len(fault) < 400 for fault in faults(good, "seed=" + "9" * 4000))


def test_a_replaced_mapping_is_to_blame_for_what_it_lacks(good: str) -> None:
    assert faults(good, "optimizer={kind: mlp}") == [
        "--set optimizer={kind: mlp}: optimizer.generator: is missing",
        "--set optimizer={kind: mlp}: optimizer.critic: is missing",
        "--set optimizer={kind: mlp}: optimizer.kind: unknown key; allowed: generator, critic",
    ]
    assert faults(good, "optimizer.generator={kind: adam}") == [
        "--set optimizer.generator={kind: adam}: optimizer.generator.lr: is missing"
    ]


def test_who_replaces_the_whole_mapping_is_not_told_to_do_so(good: str) -> None:
    (fault,) = faults(good, "lipschitz={kind: clip, bond: 1}")
    assert "did you mean bound?" in fault
    assert "replace the whole mapping" not in fault


def test_changing_a_kind_alone_is_explained(good: str) -> None:
    assert "replace the whole mapping: --set 'lipschitz={kind: ...}'" in faults(good, "lipschitz.kind=clip")[0]
