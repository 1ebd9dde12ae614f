"""Compares generated samples with real ones: distances with their floors, classes, and the critic on both splits.

A floor is the same figure between two equally large sets of real samples: the value of a perfect generator.
"""

import logging
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from wgan_cli import transport
from wgan_cli.bars import tracked
from wgan_cli.conditions import Classes, GivenColumns
from wgan_cli.data import Dataset, DataSpec
from wgan_cli.devices import free_memory
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation.bins import bin_distances, class_distances
from wgan_cli.evaluation.set_distances import set_distances
from wgan_cli.evaluation.sets import Sets, generated_samples, pairs
from wgan_cli.lipschitz.bound import proved
from wgan_cli.lipschitz.estimate import largest_slope, scores_of, w1_estimate
from wgan_cli.measures.classifier import MOST_CLASSES, Classifier, trained_classifier
from wgan_cli.measures.fidelity import DENSITY_NEIGHBOURS, class_figures, overlap
from wgan_cli.measures.memorisation import Nearest, memorisation
from wgan_cli.measures.modes import class_modes, normal_modes, stacked_classes
from wgan_cli.measures.statistic import Figures, Statistic, beside_floor, of_samples
from wgan_cli.networks.base import in_batches
from wgan_cli.plots.scene import Scene
from wgan_cli.plots.surface import Surface
from wgan_cli.runs.loaded import LoadedRun
from wgan_cli.streams import stream_seed

log = logging.getLogger("wgan")


def evaluate(loaded: LoadedRun, num: int, seed: int, *, shows_progress: bool = False) -> Figures:
    """Figures of `num` generated samples (seeds `seed`, `seed` + 1, ...) against as many held-out real ones.

    If the data has too few held-out samples for two sets of `num`, all sets are as large as the data allows. Figures
    have the same names as in training. Raises `BadInputError` for sets of one sample, and for a run without its critic.
    """
    loaded.critic.eval()  # first: it raises where only the generator was kept
    generator = torch.Generator().manual_seed(seed)
    sets = Sets.drawn(loaded, num, seed, generator)
    figures: Figures = {"step": loaded.step, "samples": len(sets.fake)}
    figures |= Statistic(_moments, [sets.generated]).with_intervals()
    of_both = (_distances, _mode_figures, _feature_figures, _copies, _condition_figures)
    measures: list[Callable[[], Figures]] = [partial(measure, loaded, sets) for measure in of_both]
    measures.append(partial(bounds, loaded, sets, seed, num))
    measures.append(partial(critic_figures, loaded, generator, seed, len(sets.fake)))
    for measure in tracked(measures, "evaluation") if shows_progress else measures:
        figures |= measure()
    return figures


def _distances(loaded: LoadedRun, sets: Sets) -> Figures:
    exact = of_samples(lambda x: _numbers(loaded.dataset.exact_distances(x)))
    return beside_floor(exact, *sets.three) or set_distances(*sets.three)


def _mode_figures(loaded: LoadedRun, sets: Sets) -> Figures:
    """Modes of a mixture of normals, and of samples whose channels are one image with a class each."""
    data, figures = loaded.config.data, Figures()
    mixture = data.mixture
    if mixture is not None:
        figures |= beside_floor(of_samples(lambda x: normal_modes(x, *mixture)), *sets.three)
    if data.channel_data is not None:
        figures |= _channel_figures(loaded, data.channel_data, sets)
    return figures


def _feature_figures(loaded: LoadedRun, sets: Sets) -> Figures:
    """What a classifier of the data's labels says of samples, and how much of the real ones they cover."""
    classifier, figures = _classifier(loaded), Figures()
    if classifier is not None:
        figures |= class_figures(classifier, *sets.three, loaded.config.data.class_names)
        figures |= asked_class_share(classifier.classes, sets.fake, sets.other, sets.asked_class(loaded))
    return figures | overlap_figures(classifier, *sets.three)


def _copies(loaded: LoadedRun, sets: Sets) -> Figures:
    return copy_figures(loaded.dataset, sets.fake, sets.other)


def _condition_figures(loaded: LoadedRun, sets: Sets) -> Figures:
    """Distances within tenths of each given column, or within classes. Of images, whose pixels say little, a classifier
    judges classes."""
    conditions = loaded.conditions
    if conditions is None or sets.condition is None or sets.asked is None:
        return {}
    count = len(sets.fake)
    real, other = sets.held_out[:count], sets.held_out[count : 2 * count]
    asked = torch.cat([sets.asked, sets.condition[:count]])
    if isinstance(conditions, GivenColumns):
        return bin_distances(conditions, sets.generated, other, real, asked)
    if isinstance(conditions, Classes) and not loaded.config.data.is_image:
        return class_distances(conditions.names, sets.generated, other, real, asked)
    return {}


def _classifier(loaded: LoadedRun) -> Classifier | None:
    """The classifier of the data's own labels; None without labels, or where the images do not fit the memory."""
    data, size = loaded.config.data, loaded.dataset.size
    if size is None or not 2 <= len(data.class_names) <= MOST_CLASSES:
        return None
    wanted = 4 * size * math.prod(data.sample_shape)
    if wanted > free_memory(loaded.device) / 2:
        log.warning("no Fréchet distance: a classifier needs %.0f GB of images in memory", wanted / 1e9)
        return None
    return trained_classifier(loaded.dataset, data.kind, loaded.device)


def overlap_figures(classifier: Classifier | None, fake: Tensor, real: Tensor, other: Tensor) -> Figures:
    """Precision, recall, density and coverage: of the classifier's features, or of the values where there is none.

    Empty for sets of too few samples.
    """
    if len(fake) <= DENSITY_NEIGHBOURS:
        return {}
    sets = [
        samples.flatten(1).float() if classifier is None else in_batches(classifier.features, samples)
        for samples in (fake, real, other)
    ]
    return beside_floor(overlap, *sets)


def copy_figures(dataset: Dataset, fake: Tensor, real: Tensor) -> Figures:
    """How near generated samples are to training samples, beside held-out ones. Empty for a source without end."""
    if dataset.size is None:
        return {}
    nearest = Nearest.among(dataset.training_parts(), torch.cat([fake, real]))
    return memorisation(*nearest.split(len(fake))).with_intervals()


def closest(loaded: LoadedRun, num: int, seed: int) -> Scene:
    """What a picture of possible copies shows: of `num` samples the 32 nearest to training samples, beside these.

    Raises `BadInputError` for a source without end.
    """
    dataset = loaded.dataset
    if dataset.size is None:
        raise BadInputError(f"--nearest: {loaded.config.data.kind} draws new samples without end; none can be copied")
    samples = loaded.sample(range(seed, seed + num))
    pairs = Nearest.among(dataset.training_parts(), samples)
    order = pairs.distances.argsort()[:32]
    return Scene(samples[order], loaded.config.data, loaded.decode, pairs.samples[order])


def _channel_figures(loaded: LoadedRun, channel: DataSpec, sets: Sets) -> Figures:
    classifier = trained_classifier(channel.load(loaded.device), channel.kind, loaded.device)
    assert classifier is not None
    classes = partial(stacked_classes, classifier)
    count = len(loaded.config.data.class_names)
    figures = beside_floor(of_samples(lambda found: class_modes(found, count), of=classes), *sets.three)
    return figures | asked_class_share(classes, sets.fake, sets.other, sets.asked_class(loaded))


def scene(loaded: LoadedRun, num: int, seed: int) -> Scene:
    """What a picture of the evaluation shows: generated samples beside held-out ones, and the critic in the plane."""
    dataset = loaded.dataset
    real = dataset.whole(num, torch.Generator().manual_seed(seed), heldout=True)
    samples = loaded.sample(range(seed, seed + len(real)))
    has_surface = loaded.config.data.view == "plane" and loaded.conditions is None  # it depends on the condition
    surface = Surface.around(real, loaded.critic) if has_surface else None
    return Scene(samples, loaded.config.data, loaded.decode, real, surface)


def asked_class_share(classes: Callable[[Tensor], Tensor], fake: Tensor, real: Tensor, asked: Tensor | None) -> Figures:
    """The share of samples that `classes` takes for the class they were asked to be, one-hot (N, classes).

    `real` are real samples of these classes. Empty if none was asked for.
    """
    if asked is None:
        return {}
    number = asked.argmax(1)

    def share(is_right: Tensor) -> Figures:
        return {"condition/accuracy": is_right.cpu().double().mean().item()}

    return beside_floor(of_samples(share, lambda samples: classes(samples) == number), fake, real, real)


def _moments(samples: Tensor) -> Figures:
    return {"samples/mean": samples.mean().item(), "samples/std": samples.std().item()}


def _numbers(figures: dict[str, Tensor]) -> Figures:
    return {name: value.item() for name, value in figures.items()}


def critic_figures(loaded: LoadedRun, generator: torch.Generator, seed: int, count: int) -> Figures:
    """The critic's gap, Lipschitz constant and W1 estimate on real samples of training, and on held-out ones."""
    figures: Figures = {}
    for split in ("train", "heldout"):
        real, condition = pairs(loaded.dataset, count, generator, heldout=split == "heldout")
        both = real, generated_samples(loaded, seed, len(real), condition)
        slope = largest_slope(loaded.critic, *both, condition).item()

        def gap_and_w1(real: Tensor, fake: Tensor, split: str = split, slope: float = slope) -> Figures:
            gap = (real.mean() - fake.mean()).item()
            w1 = w1_estimate(gap, slope)
            return {f"critic/gap_{split}": gap} | ({} if w1 is None else {f"critic/w1_{split}": w1})

        scores = [scores_of(loaded.critic, samples, condition) for samples in both]
        figures |= {f"critic/lipschitz_{split}": slope, **Statistic(gap_and_w1, scores).with_intervals()}
    return figures


def bounds(loaded: LoadedRun, sets: Sets, seed: int, num: int) -> Figures:
    """The limits of W1 between the data and the generated samples, each with a confidence of 95 %.

    The critic proves the lower one: its anchors are at most `num` real samples of training and as many generated ones
    of later seeds; the held-out samples and `num` generated ones judge. W1 between batches of these bounds it from
    above. Empty with conditions, where the critic compares samples of the same condition.
    """
    if loaded.conditions is not None:
        return {}
    # As many generated samples as asked for, even if few real ones are held out.
    fake = sets.fake if len(sets.fake) == num else generated_samples(loaded, seed, num, None)
    held_out = sets.held_out
    generator = torch.Generator().manual_seed(stream_seed(seed, "anchors"))  # endless data: no draw of `held_out` again
    anchors = loaded.dataset.real(num, generator, heldout=False)
    others = generated_samples(loaded, seed + num, len(anchors), None)
    gap_counts = loaded.config.proves_gap
    low = proved(loaded.critic, [anchors, others], [held_out, fake], gap_counts=gap_counts)
    figures: Figures = {"critic/w1_low": low.low}
    if min(len(fake), len(held_out)) >= 4:
        points = [samples.flatten(1).cpu().double() for samples in (held_out, fake)]
        figures["truth/w1_high"] = transport.upper_bound(points[0], points[1]).high
    return figures
