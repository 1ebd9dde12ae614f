"""How a run begins: what is slow to import waits until it is used."""

import subprocess
import sys

SCRIPT = """
import sys
import torch
from tests.training.helpers import quick
from wgan_cli.training.reporting import Reporter
from wgan_cli.training.trainer import Trainer

changes = ["optimizer.critic={kind: rmsprop, lr: 0.001}", "training.average=0.9"]
trainer = Trainer(quick("normal_gp", *changes), torch.device("cpu"))
reporter = Reporter(trainer)
reporter.figures(trainer.iterate())
trainer.load_state_dict(trainer.state_dict())
print(*({"torch._dynamo", "sympy", "matplotlib", "tensorboard"} & sys.modules.keys()))
"""


def test_iterations_and_figures_import_no_compiler_and_no_library_for_pictures() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
