"""The questions that a run is asked, each answered beside its opponents."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.evaluation.evaluation_set import Material
from latent_atlas.evaluation.frechet_kernel import collection_numbers
from latent_atlas.evaluation.memorisation import nearest_pairs, sample_and_compare
from latent_atlas.evaluation.paths import JOURNEYS, EvaluationModel, plan_rows, travel_table
from latent_atlas.evaluation.reconstruction import feature_distance
from latent_atlas.evaluation.result import Section
from latent_atlas.evaluation.uncertainty import Number, mean_of
from latent_atlas.shapes import Images
from latent_atlas.travel.planners.base import between_means

__all__ = ["QUESTIONS"]

SAMPLERS = {"the map": "auto", "Gaussian mixture": "mixture", "prior": "prior"}
PLANNERS = ("linear", "slerp", "walk, arriving", "geodesic")
TOLD = (
    "off_manifold mixture",
    "outside",
    "frechet",
    "precision",
    "recall",
    "feature_jump",
    "length_ratio",
    "distance_left",
)
FRAMES = 9
SHOWN = 16  # images of each row in a picture


def reconstruction(given: Material) -> Section:
    """Model against principal components, as many as a code has numbers."""
    images = given.reference.float() / 255
    dimension = min(given.atlas.map.dimension, len(given.learned), images[0].numel())
    rebuilt = {
        "the model": given.atlas.decode(given.atlas.encode(images)).cpu(),
        f"{dimension} principal components": _by_components(given, dimension),
    }
    rows = {}
    for row, others in rebuilt.items():
        errors = (images - others).square().flatten(1).mean(dim=1).double().numpy()
        rows[row] = {
            "mse": mean_of(errors),
            "psnr": Number(-10 * float(np.log10(max(errors.mean(), 1e-12)))),
            "feature_distance": feature_distance(given.reference_features, given.seen(others)),
        }
    return Section(
        "How much of an image is lost in its code?",
        "Held-out images and what is decoded from the means of their codes; principal components of images that the "
        "model learned from show what a linear code of the same size keeps. The feature distance is 0 where "
        "nothing changes, and 1 where a reconstruction is as unlike its image as another image is.",
        rows,
        f"{given.n} held-out images",
        given.seed,
        given.extractor.name,
        pictures=_first({"image": images, **rebuilt}),
    )


def sampling(given: Material) -> Section:
    """Draws of the map against those that need none, and against what no draws can beat."""
    generator = given.generator(1)
    collections: dict[str, Images] = {
        "other real images": given.others.float() / 255,
        "their reconstructions": given.decoded_codes(
            given.others, given.generator(1, on=given.atlas.device)
        ),
    }
    drawn, notes = _draws(given)
    rows = {
        row: collection_numbers(given.seen(images), given.reference_features, generator=generator)
        for row, images in (collections | drawn).items()
    }
    return Section(
        "Do new images look like real ones, and are all kinds there?",
        "Draws, decoded, against held-out images. Real images of the other half show what a perfect model would "
        "score at this sample size, their reconstructions what perfect codes would with this decoder. Distances are "
        "the smaller the better; precision and density fall where images look unreal, recall and coverage where kinds "
        "are missing.",
        rows,
        f"{given.n} images of each row against {given.n} held-out images",
        given.seed,
        given.extractor.name,
        notes=tuple(notes),
        pictures=_first(collections | drawn),
    )


def density(given: Material) -> Section:
    """Log-density of held-out codes under the map, a mixture and the prior."""
    generator = given.generator(2, on=given.atlas.device)
    held_out = torch.cat([given.reference, given.others])
    codes = given.codes(held_out).sample_each(generator=generator)
    densities: dict[str, Density] = {
        "the map": given.atlas.map,
        "Gaussian mixture": given.mixture,
        "prior": StandardNormal(given.atlas.map.dimension),
    }
    rows, notes = {}, []
    with torch.no_grad():
        for row, one in densities.items():
            try:
                rows[row] = {"log_prob": mean_of(one.log_prob(codes).double().cpu().numpy())}
            except UserError as refusal:
                notes.append(f"{row}: {refusal}")
    return Section(
        "Does the map know where codes are?",
        "Mean log-density of codes of held-out images, in nats: the higher the better, if the density is normalised, "
        "which the next table says of the map. The mixture has learned from the same codes as the map.",
        rows,
        f"{len(held_out)} codes of held-out images, one each",
        given.seed,
        notes=(
            *notes,
            "held-out codes also chose when D_z stopped learning, which favours the map a little",
        ),
    )


def calibration(given: Material) -> Section:
    """What the map measured of itself when it was made."""
    measured = given.atlas.map.calibration.numbers()
    errors = {name: measured.get(f"{name}_error") for name in measured}
    numbers = {
        name: Number(float(value), errors[name]) for name, value in measured.items()
        if not name.endswith("_error") and name != "samples"
    }  # fmt: skip
    return Section(
        "Are the map's log-densities honest?",
        "A normalised density has a normaliser of 1, and a logit of the right size a scale of 1 and a shift of 0. "
        + _sentence(given.atlas.map.calibration.verdict()),
        {"the map": numbers},
        f"{measured['samples']:.0f} real and as many fake codes, drawn when the map was made",
        given.seed,
    )


def travel(given: Material) -> Section:
    """Planners between held-out images, judged by a mixture and by features of the frames."""
    atlas, pairs = given.atlas, max(8, given.n // 8)
    generator = given.generator(3, on=atlas.device)
    start, end = (given.codes(images).means for images in (given.reference, given.others))
    model = EvaluationModel.on(given.mixture, torch.cat([start, end]))
    rows = {row: JOURNEYS[row] for row in PLANNERS}
    have = between_means(atlas.codes["train"].means, atlas.codes["held_out"].means)
    paths = plan_rows(
        atlas.map, start[:pairs], end[:pairs], rows, frames=FRAMES, generator=generator, **have
    )
    table = travel_table(
        paths,
        evaluation_models={"mixture": model},
        decode=atlas.decode,
        features=given.seen,
        reconstructions=given.seen(torch.cat([atlas.decode(start), atlas.decode(end)])),
    )
    judged = {}
    for row, path in paths.items():
        means = {
            name: mean_of(values.double().cpu().numpy()) for name, values in path.metrics.items()
        }
        means["off_manifold mixture"] = mean_of(model.off_manifold(path.points).cpu().numpy())
        judged[row] = {name: means.get(name, Number(table[row][name])) for name in TOLD}
    return Section(
        "Do journeys stay where images are?",
        "The same journeys by each planner. A Gaussian mixture of the codes, which planned nothing, says which frames "
        "are off the population, where real codes are in 5 % of all cases; the Fréchet distance, precision and recall "
        "compare all frames with reconstructions of held-out images.",
        judged,
        f"{len(start[:pairs])} journeys of {FRAMES} frames between held-out images",
        given.seed,
        given.extractor.name,
    )


def geometry(given: Material) -> Section:
    """Dense, continuous, locally Euclidean: as the run measures it, with what would be good."""
    found = given.atlas.geometry(generator=given.generator(4, on=given.atlas.device))
    return Section(
        "Is the space easy to handle?",
        "Dense, continuous and locally Euclidean, as held-out codes show; what would be good of each stands below.",
        {"the model": {name: Number(float(one.value)) for name, one in found.numbers().items()}},
        f"{found.pearson.samples} {found.pearson.of}",
        given.seed,
        found.features,
        notes=tuple(
            f"{name.replace('_', ' ')}: {one.good}" for name, one in found.numbers().items()
        ),
    )


def copies(given: Material) -> Section:
    """Whether samples are training images."""
    generator = given.generator(5, on=given.atlas.device)
    found, samples = sample_and_compare(given.atlas, given.learned, given.n, generator=generator)
    return Section(
        "Are new images copies of training images?",
        "Distances of pixels to the nearest training image, of samples and of reconstructions of held-out images; "
        f"{found.verdict()}.",
        {"the map": {name: Number(float(value)) for name, value in found.numbers().items()}},
        f"{given.n} samples against {len(given.learned)} training images",
        given.seed,
        "pixels",
        pictures=nearest_pairs(found, samples, given.learned),
    )


QUESTIONS: dict[str, Callable[[Material], Section]] = {
    "reconstruction": reconstruction,
    "sampling": sampling,
    "density": density,
    "calibration": calibration,
    "travel": travel,
    "geometry": geometry,
    "copies": copies,
}
"""Every question by the name of its section, in the page's order."""


def _by_components(given: Material, dimension: int) -> Images:
    """The reference, rebuilt from principal components of images learned from."""
    seed = int(torch.randint(2**31, (), generator=given.generator(0)))
    learned, images = (
        part.flatten(1).numpy() / np.float32(255) for part in (given.learned, given.reference)
    )
    components = PCA(dimension, svd_solver="randomized", random_state=seed).fit(learned)
    rebuilt = components.inverse_transform(components.transform(images))
    return torch.from_numpy(rebuilt).float().clamp(0, 1).reshape(given.reference.shape)


def _draws(given: Material) -> tuple[dict[str, Images], list[str]]:
    """Decoded draws of each sampler, and why some are missing or doubtful."""
    generator = given.generator(1, on=given.atlas.device)
    drawn, notes = {}, []
    for row, sampler in SAMPLERS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # they are in the draws' notes
                draws = given.atlas.sample_codes(given.n, sampler, generator=generator)
        except UserError as refusal:
            notes.append(f"{row}: {refusal}")
            continue
        drawn[row] = given.atlas.decode(draws.points).cpu()
        notes += [f"{row}: {warning}" for warning in draws.warnings]
    return drawn, notes


def _first(rows: dict[str, Tensor]) -> dict[str, Images]:
    return {row: images[:SHOWN] for row, images in rows.items()}


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."
