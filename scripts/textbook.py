"""The training loop of tutorials and popular repositories, which `bench.py` and `speedrun.py` compare with."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from wgan_cli.config.run_config import RunConfig


def new_generator(config: RunConfig, device: torch.device) -> nn.Module:
    return config.generator.build(config.latent, config.data.sample_shape, bounded=config.data.is_bounded).to(device)


def textbook(config: RunConfig, device: torch.device, generator: nn.Module | None = None) -> Iterator[None]:
    """The loop of tutorials and popular repositories, one iteration for each `next`; it trains a new generator if none
    is given."""
    generator = generator or new_generator(config, device)
    critic = config.critic.build(config.data.sample_shape).to(device)
    for_generator, for_critic = (_default_optimizer(config, network) for network in (generator, critic))
    batches = _batches(config)
    while True:
        for _ in range(config.training.n_critic):
            real = next(batches).to(device)
            fake = generator(torch.randn(len(real), config.latent.dim, device=device))  # not detached
            for_critic.zero_grad()
            loss = critic(fake).mean() - critic(real).mean()
            if config.lipschitz.kind == "gp":
                loss = loss + config.lipschitz.weight * _textbook_penalty(critic, real, fake)
            loss.backward()
            for_critic.step()
            loss.item()
            if config.lipschitz.kind == "clip":
                for parameter in critic.parameters():
                    parameter.data.clamp_(-config.lipschitz.bound, config.lipschitz.bound)
        for_generator.zero_grad()
        fake = generator(torch.randn(config.training.batch_size, config.latent.dim, device=device))
        loss = -critic(fake).mean()
        loss.backward()
        for_generator.step()
        loss.item()
        yield


def _textbook_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    weight = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device).expand_as(real)
    points = (weight * real + (1 - weight) * fake).requires_grad_()
    scores = critic(points)
    gradients = torch.autograd.grad(
        scores, points, grad_outputs=torch.ones_like(scores), create_graph=True, retain_graph=True
    )[0]
    return ((gradients.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


def _default_optimizer(config: RunConfig, network: nn.Module) -> torch.optim.Optimizer:
    spec = config.optimizer.critic
    if spec.kind == "adam":
        return torch.optim.Adam(network.parameters(), lr=spec.lr, betas=spec.betas)
    return torch.optim.RMSprop(network.parameters(), lr=spec.lr)


def _batches(config: RunConfig) -> Iterator[Tensor]:
    """Batches of a DataLoader over torchvision's MNIST, or draws of the normal."""
    if not config.data.is_image:
        while True:
            draws = torch.randn(config.training.batch_size, *config.data.sample_shape)
            yield draws * config.data.std + config.data.mean
    from torchvision import transforms
    from torchvision.datasets import MNIST

    as_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    dataset = MNIST(str(config.data.folder.parents[1]), train=True, transform=as_tensor)
    while True:
        for images, _ in torch.utils.data.DataLoader(dataset, config.training.batch_size, shuffle=True, drop_last=True):
            yield images
