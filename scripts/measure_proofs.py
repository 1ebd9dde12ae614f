"""Measures what critics of images prove of W1: by their gap, if their slope is at most 1, and by their extension.

    python scripts/measure_proofs.py --steps 3000

Each critic is trained between 20,000 digits of MNIST and as many draws of the normal with their mean and covariance,
clamped to their range. Others of each judge. Prints the limits of W1 at 95 %, the mean slope at digits (a critic whose
slope is below 1 gives some of its gap away) and the time of a step. Two critics of deel-torchlip, whose convolutions
have kernels of side 3, are measured if it is installed (`pip install deel-torchlip`).
"""

import argparse
import importlib.util
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wgan_cli.data.mnist import Mnist
from wgan_cli.lipschitz import GradientPenalty, Orthogonal
from wgan_cli.lipschitz.bound import gap_bound, proved
from wgan_cli.lipschitz.slope import slopes
from wgan_cli.networks import ConvCritic, McShaneCritic, MlpCritic
from wgan_cli.networks.pair import build_critic

SHAPE, BATCH = (1, 28, 28), 64
CRITICS: dict[str, Callable[[], nn.Module]] = {
    "gp, mlp": lambda: MlpCritic(hidden=(256, 128)).build(SHAPE),
    "orthogonal, mlp": lambda: orthogonal(MlpCritic(hidden=(256, 128), activation="maxmin")),
    "orthogonal, conv": lambda: orthogonal(ConvCritic(channels=(32, 64), hidden=(128,), kernel=2, activation="maxmin")),
    "mcshane": lambda: McShaneCritic(anchors=256).build(SHAPE),
    "deel-torchlip, conv": lambda: of_torchlip((32, 64), 128),
}


def orthogonal(spec: MlpCritic | ConvCritic) -> nn.Module:
    return build_critic(spec, Orthogonal(), SHAPE)


def of_torchlip(channels: tuple[int, ...], hidden: int) -> nn.Module:
    from deel import torchlip

    layers: list[nn.Module] = []
    for inputs, outputs in zip((1, *channels), channels, strict=False):
        layers += [torchlip.SpectralConv2d(inputs, outputs, 3, padding=1), torchlip.GroupSort2()]
        layers.append(torchlip.ScaledL2NormPool2d(2))
    positions = (28 // 2 ** len(channels)) ** 2
    layers += [nn.Flatten(), torchlip.SpectralLinear(channels[-1] * positions, hidden), torchlip.GroupSort2()]
    return nn.Sequential(*layers, torchlip.SpectralLinear(hidden, 1), nn.Flatten(0))


def normals_like(digits: Tensor) -> Callable[[int, int], Tensor]:
    """Of a count and a seed: images from the normal with the mean and covariance of `digits`, within [-1, 1]."""
    flat = digits.flatten(1).double()
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    mean, root = flat.mean(0), vectors * values.clamp(min=0).sqrt()

    def draw(count: int, seed: int) -> Tensor:
        noise = torch.randn(count, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        return (mean + noise @ root.T).clamp(-1, 1).float().reshape(count, *SHAPE)

    return draw


def train(critic: nn.Module, real: Tensor, fake: Tensor, steps: int, penalty: GradientPenalty | None) -> float:
    """Maximises the gap, and returns the milliseconds of a step."""
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.9))
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    stream = torch.Generator().manual_seed(0)
    begun = time.perf_counter()
    for _ in range(steps):
        x, y = (side[torch.randint(len(side), (BATCH,), generator=stream)] for side in (real, fake))
        loss = critic(y).mean() - critic(x).mean()
        if penalty is not None:
            loss = loss + penalty.penalty(critic, x, y, penalty.noise(BATCH, SHAPE, stream))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return 1000 * (time.perf_counter() - begun) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--critic", choices=CRITICS, action="append", help="only this one; may be given again")
    arguments = parser.parse_args()
    dataset = Mnist().load(torch.device("cpu"))
    chance = torch.Generator().manual_seed(0)
    real, judging = (dataset.real(count, chance, heldout=held) for count, held in ((20_000, False), (10_000, True)))
    draw = normals_like(real)
    fake, fake_judging = draw(len(real), 1), draw(len(judging), 2)
    for name in arguments.critic or CRITICS:
        if name.startswith("deel") and importlib.util.find_spec("deel") is None:
            continue
        torch.manual_seed(0)
        critic = CRITICS[name]()
        is_bounded = not name.startswith("gp")
        spent = train(critic, real, fake, arguments.steps, None if is_bounded else GradientPenalty(sided="one"))
        critic.eval()
        judged = (judging, fake_judging)
        cones = proved(critic, (real, fake), judged).low
        gap = f"{gap_bound(critic, judged).low:.2f}" if is_bounded else "nothing"
        slope = slopes(critic, judging[:1024]).mean().item()
        print(f"{name}: gap {gap}, cones {cones:.2f}, mean slope {slope:.3f}, {spent:.1f} ms a step", flush=True)


if __name__ == "__main__":
    main()
