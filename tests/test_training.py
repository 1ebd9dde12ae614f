import json
from pathlib import Path

import pytest
import torch

from wgan_cli import models
from wgan_cli.checkpoints import checkpoints, read_newest, sealed
from wgan_cli.config import RunConfig, load_config
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.reporting import Reporter, check_state
from wgan_cli.trainer import Trainer
from wgan_cli.training import run

CPU = torch.device("cpu")
QUICK = ("generator.hidden=[8]", "critic.hidden=[8]", "training.batch_size=16", "training.n_critic=2")


def config(name: str = "normal_gp", *overrides: str, iterations: int = 6) -> RunConfig:
    intervals = ("output.log_every=2", "output.sample_every=3", "output.checkpoint_every=4")
    return load_config(name, [*QUICK, *intervals, f"training.iterations={iterations}", *overrides])


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_run_writes_what_the_design_promises(tmp_path: Path) -> None:
    path = run(config(), CPU, out=tmp_path / "run", name="x")
    assert sorted(p.name for p in path.iterdir() if p.suffix != ".lock" and not p.name.startswith((".", "events"))) == [
        "checkpoints",
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "samples",
        "status.json",
    ]
    assert [line["step"] for line in lines(path)] == [2, 4, 6]
    assert [p.stem for p in sorted((path / "samples").iterdir())] == ["000000003", "000000006"]
    assert [p.stem for p in checkpoints(path)] == ["000000006", "000000004"]
    names = {"critic/gap", "critic/real", "critic/fake", "critic/penalty", "critic/loss", "critic/lipschitz"}
    names |= {"generator/loss", "samples/mean", "samples/std", "truth/w1"}
    names |= {"speed/iterations_per_second", "speed/images_per_second"}
    assert names <= lines(path)[-1].keys()


def test_the_figures_agree_with_each_other(tmp_path: Path) -> None:
    for line in lines(run(config(iterations=20), CPU, out=tmp_path / "run", name="x")):
        assert line["critic/gap"] == pytest.approx(line["critic/real"] - line["critic/fake"], abs=1e-5)
        assert line["critic/loss"] == pytest.approx(line["critic/penalty"] - line["critic/gap"], abs=1e-5)
        assert line["critic/w1"] == pytest.approx(line["critic/gap"] / line["critic/lipschitz"])
        ratio = line["speed/images_per_second"] / line["speed/iterations_per_second"]
        assert ratio == pytest.approx(2 * 16)


def test_each_critic_step_has_fresh_real_samples_and_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(config("normal_clip", "training.n_critic=3"), CPU)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    step = trainer.mathematics.critic_step

    def spy(critic, optimizer, real, fake, uniform):
        assert not fake.requires_grad  # no generator graph in a critic step
        seen.append((real.clone(), fake.clone()))
        return step(critic, optimizer, real, fake, uniform)

    object.__setattr__(trainer.mathematics, "critic_step", spy)
    trainer.iterate()
    assert len(seen) == 3
    for which in (0, 1):
        batches = [pair[which] for pair in seen]
        assert not torch.equal(batches[0], batches[1])
        assert not torch.equal(batches[1], batches[2])


def test_one_generator_step_an_iteration_and_n_critic_critic_steps() -> None:
    trainer = Trainer(config("normal_gp", "training.n_critic=3"), CPU)
    for _ in range(2):
        trainer.iterate()
    counts = {
        name: {int(state["step"]) for state in optimizer.state.values()}
        for name, optimizer in trainer.optimizers.items()
    }
    assert counts == {"generator": {2}, "critic": {6}}


def test_clipped_weights_stay_within_the_bound() -> None:
    trainer = Trainer(config("normal_clip"), CPU)
    for _ in range(5):
        trainer.iterate()
    assert max(parameter.abs().max().item() for parameter in trainer.critic.parameters()) <= 0.01


def weights(path: Path) -> dict[str, torch.Tensor]:
    state = read_newest(path)
    assert state is not None
    return {f"{net}.{name}": value for net in ("generator", "critic") for name, value in state[net].items()}


@pytest.mark.parametrize("name", ["normal_gp", "normal512_clip", "mnist"])
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path, name: str, made_up_mnist: Path) -> None:
    overrides: tuple[str, ...] = ("output.log_every=1",)
    if name == "mnist":
        name = "normal_gp"
        overrides += (f"data={{kind: mnist, checksums: false, root: {made_up_mnist}}}",)
    whole = run(config(name, *overrides, iterations=9), CPU, out=tmp_path / "whole", name="x")
    part = run(config(name, *overrides, iterations=9), CPU, out=tmp_path / "other", name="x")
    # Take the end away, as a crash after the checkpoint of iteration 8 would.
    checkpoints(part)[0].unlink()
    resumed = run(config(name, *overrides, iterations=9), CPU, out=part, name="x", resume=True)
    for key, value in weights(whole).items():
        assert torch.equal(weights(resumed)[key], value), key
    speeds = ("speed/iterations_per_second", "speed/images_per_second")
    for one, other in zip(lines(whole), lines(resumed), strict=True):
        assert {k: v for k, v in one.items() if k not in speeds} == {k: v for k, v in other.items() if k not in speeds}


def test_logging_more_often_changes_nothing_in_training(tmp_path: Path) -> None:
    often = run(config("normal_gp", "output.log_every=1", "output.sample_every=1"), CPU, out=tmp_path / "a", name="x")
    seldom = run(config("normal_gp", "output.log_every=6", "output.sample_every=6"), CPU, out=tmp_path / "b", name="x")
    assert all(torch.equal(weights(often)[key], value) for key, value in weights(seldom).items())


def test_resume_starts_a_run_that_is_not_there_and_leaves_one_that_is_done(tmp_path: Path) -> None:
    first = run(config(), CPU, out=tmp_path / "run", name="x", resume=True)
    before = (first / "metrics.jsonl").read_bytes()
    assert run(config(), CPU, out=tmp_path / "run", name="x", resume=True) == first
    assert (first / "metrics.jsonl").read_bytes() == before


def test_a_run_may_go_on_for_longer(tmp_path: Path) -> None:
    path = run(config(), CPU, out=tmp_path / "run", name="x")
    run(config(iterations=10), CPU, out=path, name="x", resume=True)
    assert [line["step"] for line in lines(path)] == [2, 4, 6, 8, 10]


def test_resume_refuses_another_config_by_its_keys(tmp_path: Path) -> None:
    path = run(config(), CPU, out=tmp_path / "run", name="x")
    before = (path / "config.yaml").read_bytes()
    with pytest.raises(BadInputError, match=r"another config, in lipschitz\.weight, seed;"):
        run(config("normal_gp", "seed=1", "lipschitz.weight=1"), CPU, out=path, name="x", resume=True)
    assert (path / "config.yaml").read_bytes() == before


def test_a_checkpoint_of_other_shapes_is_refused(tmp_path: Path) -> None:
    path = run(config(), CPU, out=tmp_path / "run", name="x")
    for checkpoint in checkpoints(path):
        state = torch.load(checkpoint, weights_only=True)
        state["critic"] = {name: value[:1] for name, value in state["critic"].items()}
        checkpoint.write_bytes(sealed(state))
    with pytest.raises(BadInputError, match="does not fit its own config"):
        run(config(iterations=10), CPU, out=path, name="x", resume=True)


def test_divergence_stops_with_its_own_code_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    blown_up = config(
        "normal_gp",
        "lipschitz={kind: none}",
        "optimizer.critic={kind: rmsprop, lr: 1e30}",
        "output.checkpoint_every=1",
    )
    with pytest.raises(WganError, match=r"diverged: .* at iteration \d+") as caught:
        run(blown_up, CPU, out=tmp_path / "run", name="x")
    assert caught.value.exit_code == ExitCode.DIVERGED
    for path in checkpoints(tmp_path / "run"):
        state = torch.load(path, weights_only=True)
        assert all(value.isfinite().all() for net in ("generator", "critic") for value in state[net].values())
    for line in lines(tmp_path / "run"):
        assert all(value == value and abs(value) < float("inf") for value in line.values())


@pytest.mark.parametrize("overrides", [("output.log_every=1000", "output.sample_every=1"), ("output.log_every=1",)])
@pytest.mark.parametrize("data", ["normal", "mnist"])
def test_weights_that_blow_up_are_divergence_on_every_path(
    tmp_path: Path, overrides: tuple[str, ...], data: str, made_up_mnist: Path
) -> None:
    images = (f"data={{kind: mnist, checksums: false, root: {made_up_mnist}}}",) if data == "mnist" else ()
    rates = ("optimizer.generator.lr=1e38", "optimizer.critic.lr=1e38")
    with pytest.raises(WganError, match="diverged") as caught:
        run(config("normal_gp", *images, *rates, *overrides), CPU, out=tmp_path / "run", name="x")
    assert caught.value.exit_code == ExitCode.DIVERGED


def test_a_finished_run_is_not_touched_and_not_shortened(tmp_path: Path) -> None:
    path = run(config(), CPU, out=tmp_path / "run", name="x")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    run(config(), CPU, out=path, name="x", resume=True)
    with pytest.raises(BadInputError, match=r"at iteration 6 already, beyond training\.iterations: 4"):
        run(config(iterations=4), CPU, out=path, name="x", resume=True)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_longer_run_takes_the_decay_of_its_new_length() -> None:
    short, long = Trainer(config(), CPU), Trainer(config(iterations=12), CPU)
    for _ in range(6):
        short.iterate()
    long.load_state_dict({**short.state_dict(), "step": 6})
    assert [group["lr"] for group in long.optimizers["critic"].param_groups] == pytest.approx([1e-3 * 0.5])


def test_another_device_is_told_by_its_name() -> None:
    state = {**Trainer(config(), CPU).state_dict(), "step": 0, "device": "cuda"}
    with pytest.raises(BadInputError, match="trained on cuda; go on with --device cuda"):
        Trainer(config(), CPU).load_state_dict(state)


def test_samples_come_from_the_average_where_it_is_on() -> None:
    with_average = Trainer(config("normal_gp", "training.average=0.9"), CPU)
    without = Trainer(config("normal_gp", "training.average=null"), CPU)
    for trainer in (with_average, without):
        for _ in range(5):
            trainer.iterate()
    latents = with_average.config.latent.from_seeds(range(8))
    raw = models.generate(with_average.generator, latents)
    assert torch.equal(models.generate(without.sampler, latents), raw)  # keeping an average changes no training
    assert not torch.equal(models.generate(with_average.sampler, latents), raw)


def test_images_are_told_of_by_held_out_ones(tmp_path: Path, made_up_mnist: Path) -> None:
    images = f"data={{kind: mnist, checksums: false, root: {made_up_mnist}}}"
    told = lines(run(config("normal_gp", images), CPU, out=tmp_path / "run", name="x"))
    assert [line["step"] for line in told] == [2, 3, 4, 6]  # the grid of iteration 3 has a line of its own
    assert all("critic/gap_heldout" in line for line in told if line["step"] != 3)
    assert told[1].keys() == {"step", "truth/w1", "truth/w1_floor"}
    assert told[3].keys() > {"truth/w1", "critic/gap"}


def test_a_gap_that_stays_negative_is_explained_once(caplog: pytest.LogCaptureFixture) -> None:
    two_sided = Trainer(config("normal_gp", "lipschitz.sided=two"), CPU)
    one_sided = Trainer(config("normal_gp", "lipschitz.sided=one"), CPU)
    for trainer, warnings in ((two_sided, 1), (one_sided, 0)):
        caplog.clear()
        reporter = Reporter(trainer)
        for gap in [-1.0] * (reporter.PATIENCE - 1) + [1.0]:
            reporter._watch_sign(gap)
        assert not caplog.records  # it may pass
        for gap in [-1.0] * 3 * reporter.PATIENCE:
            reporter._watch_sign(gap)
        assert len(caplog.records) == warnings
    assert "lipschitz.sided: one" in two_sided.config.lipschitz.advice_on_negative_gap()


def test_networks_begin_alike_whatever_the_data_order_drew() -> None:
    one, other = Trainer(config("normal_gp"), CPU), Trainer(config("normal_gp", "data.mean=9.0"), CPU)
    assert all(torch.equal(a, b) for a, b in zip(one.critic.parameters(), other.critic.parameters(), strict=True))
    third = Trainer(config("normal_gp", "seed=1"), CPU)
    assert not torch.equal(next(one.critic.parameters()), next(third.critic.parameters()))


def test_only_kernels_that_repeat_their_bits_are_used_where_asked_for(tmp_path: Path) -> None:
    seen = []
    iterate = Trainer.iterate

    def spy(trainer: Trainer):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return iterate(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "iterate", spy)
        patch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        for wanted in (True, False):
            run(
                config("normal_gp", f"training.deterministic={str(wanted).lower()}"),
                CPU,
                out=tmp_path / str(wanted),
                name="x",
            )
            assert set(seen) == {wanted}
            seen.clear()
    assert not torch.are_deterministic_algorithms_enabled()


def test_moments_that_are_not_finite_are_never_saved() -> None:
    trainer = Trainer(config("normal_gp"), CPU)
    trainer.iterate()
    check_state(trainer)
    moments = next(iter(trainer.optimizers["critic"].state.values()))
    moments["exp_avg_sq"].view(-1)[0] = float("inf")
    with pytest.raises(WganError, match="critic optimizer's exp_avg_sq is not finite at iteration 1"):
        check_state(trainer)
