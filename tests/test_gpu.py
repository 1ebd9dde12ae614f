"""What only a GPU can show: graphs against eager steps, runs that go on bit for bit, memory that stays flat."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import metrics
from tests.training.helpers import CASES, CPU, STRATEGIES, apart, case, weights
from wgan_cli.config.load import load_config
from wgan_cli.runs.checkpoints import checkpoints
from wgan_cli.runs.loaded import load_run
from wgan_cli.training.loop import train_run
from wgan_cli.training.trainer import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
GPU = torch.device("cuda")
# A graph's rate is float32. These rates, and the steps of the decay over 32 iterations, are exact in it: so float64
# steps, which take their rate in float64, are comparable to the last digits.
ADAM = f"{{kind: adam, lr: {2**-11}, betas: [0.5, 0.9]}}"
RMSPROP = f"{{kind: rmsprop, lr: {2**-10}, decay: linear}}"


def both(optimizer: str) -> str:
    """The override that gives both networks this optimizer."""
    return f"optimizer={{generator: {optimizer}, critic: {optimizer}}}"


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("engine", ["graph", "compile", "compiled_graph"])
@pytest.mark.parametrize(("network", "strategy"), CASES)
def test_engines_are_eager_steps(network: str, strategy: str, engine: str, made_up_mnist: Path) -> None:
    eager, other = (
        Trainer(case(network, strategy, made_up_mnist, both(ADAM), f"training.engine={name}"), GPU)
        for name in ("eager", engine)
    )
    before = weights(eager)
    assert apart(eager, other) < 1e-10
    assert (weights(eager) - before).norm() > 0.01 * before.norm()
    for name, state in eager.streams.state_dict().items():
        assert torch.equal(other.streams.state_dict()[name], state), name


@pytest.mark.parametrize("engine", ["graph", "compile", "compiled_graph"])
def test_engines_are_near_eager_steps_in_float32(engine: str, made_up_mnist: Path) -> None:
    eager, other = (
        Trainer(case("conv", STRATEGIES[0], made_up_mnist, f"training.engine={name}"), GPU)
        for name in ("eager", engine)
    )
    assert apart(eager, other) < 1e-4


@pytest.mark.usefixtures("in_float64")
def test_a_graph_holds_rmsprop_batch_norm_and_a_decaying_rate(made_up_mnist: Path) -> None:
    more = (both(RMSPROP), "training.iterations=32", "generator.norm=batch")
    eager, graph = (
        Trainer(case("conv", STRATEGIES[2], made_up_mnist, *more, f"training.engine={name}"), GPU)
        for name in ("eager", "graph")
    )
    assert apart(eager, graph) < 1e-10
    for one, other in zip(eager.networks.generator.buffers(), graph.networks.generator.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("engine", ["eager", "graph", "compiled_graph"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, network: str, engine: str, made_up_mnist: Path) -> None:
    config = case(
        network,
        STRATEGIES[0],
        made_up_mnist,
        f"training.engine={engine}",
        "training.deterministic=true",
        "training.iterations=20",
        "output.log_every=1",
        "output.checkpoint_every=6",
    )
    whole = train_run(config, GPU, out=tmp_path / "whole", name="x")
    part = train_run(config, GPU, out=tmp_path / "part", name="x")
    checkpoints(part)[0].unlink()  # as a crash after iteration 18 would leave it
    train_run(config, GPU, out=part, name="x", resume=True)
    assert checkpoints(whole)[0].read_bytes() == checkpoints(part)[0].read_bytes()
    one, other = (
        [{name: value for name, value in line.items() if not name.startswith("speed")} for line in metrics(path)]
        for path in (whole, part)
    )
    assert one == other


def test_a_graph_is_captured_while_another_thread_pins_batches(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(5000, 64)).astype(np.float32))
    eager, graph = (
        Trainer(
            load_config("normal_gp", [f"data={{kind: arrays, path: {tmp_path / 'x.npy'}, resident: false}}", engine]),
            GPU,
        )
        for engine in ("training.engine=eager", "training.engine=graph")
    )
    assert apart(eager, graph) < 1e-4


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_bfloat16_stays_near_float32(engine: str, made_up_mnist: Path) -> None:
    exact, rough = (
        Trainer(
            case("conv", STRATEGIES[0], made_up_mnist, f"training.engine={engine}", f"training.precision={name}"), GPU
        )
        for name in ("float32", "bfloat16")
    )
    assert 0 < apart(exact, rough) < 0.2


def test_what_a_gpu_trained_is_sampled_on_a_cpu(tmp_path: Path, made_up_mnist: Path) -> None:
    config = case("conv", STRATEGIES[0], made_up_mnist, "training.iterations=5")
    path = train_run(config, GPU, out=tmp_path / "run", name="x")
    latents = config.latent.from_seeds(range(8))
    on_cpu, on_gpu = (load_run(str(path), device).sample_latents(latents).cpu() for device in (CPU, GPU))
    torch.testing.assert_close(on_cpu, on_gpu, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_graph_needs_no_more_memory_as_it_goes(network: str, made_up_mnist: Path) -> None:
    trainer = Trainer(case(network, STRATEGIES[0], made_up_mnist, "training.engine=graph"), GPU)
    for _ in range(50):
        trainer.iterate()
    before = torch.cuda.memory_allocated()
    for _ in range(2000):
        trainer.iterate()
    assert torch.cuda.memory_allocated() == before
