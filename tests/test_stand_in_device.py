"""On a stand-in for a GPU, no iteration waits for the device or touches the host where `graph` would capture it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in import PLANTED, missing
from tests.test_every_kind import CASES as KINDS
from tests.test_every_kind import TINY, TWINS
from wgan_cli.config import shipped

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"torch has no {', '.join(missing())}"),
    pytest.mark.timeout(600),  # some 25 s of work, all of it in the setup of the first test, and so the tests are few
]

SMALL = ("training.batch_size=8", "training.n_critic=1", "training.average=0.9", "training.iterations=4")
CONSTANT = "optimizer={generator: {kind: adam, lr: 0.001}, critic: {kind: adam, lr: 0.001}}"
RMSPROP = "{kind: rmsprop, lr: 0.001, decay: linear}"
DIGITS = ("data={kind: mnist, root: ROOT}", "latent.dim=3", CONSTANT)
GENERATORS = {
    "mlp": "generator={kind: mlp, hidden: [8], norm: batch}",
    "conv": "generator={kind: conv, channels: [4, 4, 2], norm: batch}",
    "resnet": "generator={kind: resnet, channels: [4, 4, 4]}",
}
CRITICS = {
    "mlp": "critic={kind: mlp, hidden: [8]}",
    "conv": "critic={kind: conv, channels: [2, 4]}",
    "resnet": "critic={kind: resnet, channels: [4, 4], plain_blocks: 1}",
}
STRATEGIES = {
    "none": "lipschitz={kind: none}",
    "clip": "lipschitz={kind: clip, bound: 0.05}",
    "gp": "lipschitz={kind: gp, weight: 10.0}",
    "one-sided gp": "lipschitz={kind: gp, weight: 10.0, sided: one}",
    "r1": "lipschitz={kind: r1}",
    "spectral": "lipschitz={kind: spectral}",
}
OTHERS: dict[str, tuple[str, ...]] = {
    "mcshane": ("critic={kind: mcshane, anchors: 8}", STRATEGIES["none"]),
    **{
        f"objective {kind}": (f"objective={{kind: {kind}}}",)
        for kind in ("wasserstein", "gan", "hinge", "relativistic")
    },
    "rmsprop": (f"optimizer={{generator: {RMSPROP}, critic: {RMSPROP}}}",),
    "norms and dropout": ("critic={kind: mlp, hidden: [8], norm: layer, dropout: 0.1}",),
}


def cases() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Configs by a name of the case: each shipped one, kind of data, network, strategy and objective."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in shipped.names():
        found[f"shipped {name}"] = (name, ("training.batch_size=8", "training.n_critic=1"))
    for name, overrides in KINDS.items():
        if name not in TWINS:
            found[f"data {name}"] = ("mnist_gp", (*overrides, *TINY, *SMALL))
    for network, critic in CRITICS.items():
        for strategy, lipschitz in STRATEGIES.items():
            if network == "mlp" or strategy in ("gp", "spectral"):
                found[f"{network} {strategy}"] = ("mnist_gp", (*DIGITS, GENERATORS[network], critic, lipschitz, *SMALL))
    for name, overrides in OTHERS.items():
        found[name] = ("normal_gp", ("generator.hidden=[8]", "critic.hidden=[8]", *SMALL, *overrides))
    return found


CASES = cases()


@pytest.fixture(scope="module")
def seen(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of each case and planted fault, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stand_in", str(examples), str(tmp_path_factory.mktemp("root"))],
        input=json.dumps(CASES),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


STREAMED = ("_to_copy: cpu and standin", "copy_: cpu and standin")
"""The order of a new pass, which comes to the host, and batches and their indices, which come from its pinned memory:
neither is waited for at each iteration."""


def test_iterations_stay_on_the_device(seen: dict[str, Any]) -> None:
    cases = seen["cases"]
    assert {case: cases[case]["captured"]["faults"] for case in CASES} == {case: [] for case in CASES}
    assert [case for case in CASES if cases[case]["captured"]["operations"] <= 100] == []
    around = {case: set(cases[case]["around"]["faults"]) for case in CASES}
    streamed = {case for case in CASES if "streamed" in case}
    assert {case: faults for case, faults in around.items() if faults and case not in streamed} == {}
    assert set().union(*around.values()) <= set(STREAMED)
    assert {case for case in streamed if around[case]} == streamed  # they are seen to come from the host


NOTED = {
    "item": "_local_scalar_dense: DataDependentOutputException",
    "a list of values": "_local_scalar_dense: DataDependentOutputException",
    "a branch on data": "_local_scalar_dense: DataDependentOutputException",
    "a scalar of the host": "mul: cpu and standin",
    "random numbers of the host": "rand: cpu",
    "a copy to the device": "_to_copy: cpu and standin",
    "a copy to the host": "_to_copy: cpu and standin",
    "a copy into the host's memory": "copy_: cpu and standin",
    "a mask": "DynamicOutputShapeException",
    "an index of the host": "index: cpu and standin",
    "a rate that CUDA can't read": "_fused_adam_: a rate in torch.float64",
    "two devices": "add: FakeTensorDeviceMismatchError",
}


def test_each_planted_fault_is_seen(seen: dict[str, Any]) -> None:
    assert set(NOTED) == set(PLANTED)
    noted = {fault: [note for note in seen["planted"][fault] if NOTED[fault] in note] for fault in PLANTED}
    assert [fault for fault in PLANTED if not noted[fault]] == []
