"""Which digits a trained run draws: the share of each class among its samples, by a classifier trained here.

    python scripts/measure_mnist.py runs/mnist_gp-0001

The classifier is a small convolutional network trained on MNIST's own labels; its accuracy on the test split is
printed first, so that the shares can be trusted.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wgan_cli.data import Mnist, scale
from wgan_cli.devices import pick_device
from wgan_cli.models import generate
from wgan_cli.sampling import load_run

SAMPLES = 10_000
EPOCHS = 2


def labelled(split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    spec = Mnist.model_validate({"split": split})
    return scale(spec.read("images")[:, None].to(device)), spec.read("labels").long().to(device)


def train_classifier(device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10)),
    ).to(device)
    images, labels = labelled("train", device)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images), device=device).split(128):
            optimizer.zero_grad()
            cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    classifier = train_classifier(device)
    images, labels = labelled("test", device)
    accuracy = (generate(classifier, images).argmax(1) == labels).float().mean().item()
    print(f"classifier: {accuracy:.2%} right on the test split")
    for run in arguments.runs:
        loaded = load_run(run, device)
        samples = generate(loaded.generator, loaded.config.latent.from_seeds(range(SAMPLES)).to(device))
        probabilities = generate(classifier, samples).softmax(1)
        shares = probabilities.argmax(1).bincount(minlength=10) / SAMPLES
        sure = (probabilities.amax(1) > 0.9).float().mean().item()
        each = "  ".join(f"{digit}: {share:.1%}" for digit, share in enumerate(shares.tolist()))
        print(f"{run} at iteration {loaded.step}: {each}; {sure:.1%} told apart with over 90 % confidence")


if __name__ == "__main__":
    main()
