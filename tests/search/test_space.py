import re
from pathlib import Path

import pytest

from tests.search.helpers import tiny, tiny_space
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.search.space import Choices, Range, read_space


def test_keys_are_nested_or_dotted_and_values_varied_or_fixed(tmp_path: Path) -> None:
    space = tiny_space(tmp_path)
    assert space.varied == {
        ("optimizer", "generator", "lr"): Range(1e-4, 1e-2, log=True),
        ("training", "n_critic"): Range(1, 3),
        ("generator", "hidden"): Choices(([8], [4, 4])),
    }
    assert [values.is_whole for values in space.varied.values() if isinstance(values, Range)] == [False, True]
    assert space.fixed[("critic", "hidden")] == [8]
    assert (space.spec.objective, space.spec.direction, space.spec.prune) == ("truth/w1", "minimise", True)


def test_a_config_is_the_base_with_the_values(tmp_path: Path) -> None:
    values = {("optimizer", "generator", "lr"): 0.003, ("training", "n_critic"): 2, ("generator", "hidden"): [4, 4]}
    sets = ["optimizer.generator.lr=0.003", "training.n_critic=2", "generator.hidden=[4, 4]", "critic.hidden=[8]"]
    sets += ["training.iterations=40", "training.batch_size=16", "training.average=0.9"]
    sets += ["output.log_every=5", "output.sample_every=40", "output.checkpoint_every=5"]
    assert tiny_space(tmp_path).config(values) == load_config("normal_gp", sets)


def test_a_choice_may_be_a_mapping(tmp_path: Path) -> None:
    new = "lipschitz: {choices: [{kind: clip, bound: 0.1}, {kind: gp, weight: 1.0}]}"
    space = tiny_space(tmp_path, ("critic.hidden: [8]", new))
    values = {key: within.tried[0] for key, within in space.varied.items()}
    assert space.config(values).lipschitz.kind == "clip"
    assert space.config({**values, ("lipschitz",): {"kind": "gp", "weight": 1.0}}).lipschitz.kind == "gp"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("config: normal_gp", "", r"space\.yaml:.*: config: is missing"),
        ("config: normal_gp", "config: normal_gq", r"normal_gq: no such file, nor a shipped config; did you mean"),
        (
            "objective: truth/w1",
            "objektive: truth/w1",
            r"space\.yaml:3: objektive: unknown key; did you mean objective",
        ),
        ("objective: truth/w1", "objective: w1", r"space\.yaml:3: objective: "),
        (
            "objective: truth/w1",
            "objective: thruth/w1",
            r"space\.yaml:3: objective: thruth/w1 is no figure; did you mean truth/\.\.\.\? Their names begin with acc",
        ),
        (
            "objective: truth/w1",
            "objective: truth/w1\ndirection: up",
            r"space\.yaml:4: direction: must be 'minimise' or 'maximise'",
        ),
        (
            "optimizer.generator.lr",
            "optimizer.generator.lt",
            r"space\.yaml:5: optimizer\.generator\.lt: unknown key; allowed: kind, lr",
        ),
        ("high: 1.0e-2", "hihg: 1.0e-2", r"space\.yaml:5: space\..*lr\.hihg: unknown key; did you mean high\?"),
        (", high: 1.0e-2", "", r"space\.yaml:5: space\..*lr: high is missing"),
        ("low: 1.0e-4", "low: 0.0", r"space\.yaml:5: space\..*lr\.low: must be greater than 0 with log: true"),
        ("low: 1.0e-4", "low: 1", r"space\.yaml:5: space\..*lr\.low: must be less than high"),
        ("low: 1.0e-4", "low: few", r"space\.yaml:5: space\..*lr\.low: must be a finite number, but is \"few\""),
        ("log: true", "log: 1", r"space\.yaml:5: space\..*lr\.log: must be true or false"),
        (
            "low: 1, high: 3",
            "low: 0, high: 3",
            r"space\.yaml:6: training\.n_critic: must be greater than or equal to 1",
        ),
        ("low: 1, high: 3", "low: 1, high: 2.5", r"space\.yaml:6: training\.n_critic: must be a valid integer"),
        ("[[8], [4, 4]]", "[]", r"space\.yaml:7: space\.generator\.hidden\.choices: must be a list of at least one"),
        ("[[8], [4, 4]]", "[[8], [0]]", r"space\.yaml:7: generator\.hidden\.0: must be greater than or equal to 1"),
        ("critic.hidden: [8]", "training.n_critic: 4", r"space\.yaml:8: .*n_critic: is given twice"),
        ("critic.hidden: [8]", "critic.widht: 8", r"space\.yaml:8: critic\.widht: unknown key"),
    ],
)
def test_a_wrong_space_is_refused_with_its_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        read_space(tiny(tmp_path, (old, new)))
    assert re.search(message, str(refused.value)), refused.value


def test_a_space_without_a_range_is_refused(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("config: normal_gp\nobjective: truth/w1\nspace: {training.iterations: 4}\n")
    with pytest.raises(BadInputError, match=r"space\.yaml:3: space: has no range; write KEY: \{low: 1, high: 5\}"):
        read_space(tmp_path / "space.yaml")
