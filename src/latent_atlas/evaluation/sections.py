"""The sections of an evaluation, each with its baselines."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.evaluation.evaluation_set import EvaluationSet
from latent_atlas.evaluation.frechet_kernel import collection_numbers
from latent_atlas.evaluation.memorisation import nearest_pairs, sample_and_compare
from latent_atlas.evaluation.paths import COMPARED, EvaluationModel, plan_rows, travel_table
from latent_atlas.evaluation.reconstruction import feature_distance
from latent_atlas.evaluation.result import Section
from latent_atlas.evaluation.uncertainty import Number, mean_of
from latent_atlas.shapes import Images, to_float

__all__ = ["SECTIONS"]

SAMPLERS = {"the map": "auto", "Gaussian mixture": "mixture", "prior": "prior"}
PLANNERS = ("linear", "slerp", "walk, arriving", "geodesic", "typical")
TOLD = (
    "off_manifold mixture",
    "off_manifold",
    "frechet",
    "precision",
    "recall",
    "feature_jump",
    "length_ratio",
    "distance_left",
)
FRAMES = 9
SHOWN = 16  # images of each row in a picture


def reconstruction(given: EvaluationSet) -> Section:
    """The model against as many principal components as a code has coordinates."""
    images = to_float(given.reference)
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
            "feature_distance": feature_distance(given.reference_features, given.features(others)),
        }
    return Section(
        "How much of an image is lost in its code?",
        "Held-out images and their reconstructions from the means of their codes. Principal "
        "components of the training images are the linear code of the same size. The feature "
        "distance is 0 for perfect reconstructions, and 1 if reconstructions are as far from their "
        "images as other images are.",
        rows,
        f"{given.n} held-out images",
        given.seed,
        given.extractor.name,
        pictures=_first({"image": images, **rebuilt}),
    )


def sampling(given: EvaluationSet) -> Section:
    """Samples of the map against baselines, and against real images as an upper bound."""
    generator = given.generator(1)
    collections: dict[str, Images] = {
        "other real images": to_float(given.others),
        "their reconstructions": given.decoded_codes(
            given.others, given.generator(1, on=given.atlas.device)
        ),
    }
    drawn, notes = _draws(given)
    rows = {
        row: collection_numbers(
            given.features(images), given.reference_features, generator=generator
        )
        for row, images in (collections | drawn).items()
    }
    return Section(
        "Do new images look like real ones, and are all kinds there?",
        "Decoded samples against held-out images. Real images of the other half are what a perfect "
        "model reaches at this sample size, their reconstructions what perfect codes reach with "
        "this decoder. Smaller distances are better; precision and density fall if images look "
        "unreal, recall and coverage if kinds of images are missing.",
        rows,
        f"{given.n} images of each row against {given.n} held-out images",
        given.seed,
        given.extractor.name,
        notes=tuple(notes),
        pictures=_first(collections | drawn),
    )


def density(given: EvaluationSet) -> Section:
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
            if one.has_log_prob:
                rows[row] = {"log_prob": mean_of(one.log_prob(codes).double().cpu().numpy())}
            else:
                notes.append(f"{row}: its boundary has no log-density for real codes")
    return Section(
        "How likely are held-out codes under the map?",
        "Mean log-density of codes of held-out images, in nats: higher is better if the density is "
        "normalised; the next table has the normalising constant. The mixture is fitted to the "
        "same codes as the map.",
        rows,
        f"{len(held_out)} codes of held-out images, one each",
        given.seed,
        notes=(
            *notes,
            "the held-out codes also decided when D_z stopped training, which favours the map a "
            "little",
        ),
    )


def calibration(given: EvaluationSet) -> Section:
    """The calibration of the map, measured when it was fitted."""
    found = given.atlas.map.calibration
    measured, verdict = found.numbers(), found.verdict()
    errors = {name: measured.get(f"{name}_error") for name in measured}
    numbers = {
        name: Number(float(value), errors[name]) for name, value in measured.items()
        if not name.endswith("_error") and name != "samples"
    }  # fmt: skip
    return Section(
        "Is the map calibrated?",
        "A normalised density has a normalising constant of 1, and a calibrated logit a scale of 1 "
        "and a shift of 0. " + " ".join(map(_sentence, (*given.atlas.map.warnings, verdict))),
        {"the map": numbers},
        f"{measured['samples']:.0f} real and as many fake codes, sampled when the map was fitted",
        given.seed,
    )


def travel(given: EvaluationSet) -> Section:
    """Planners between held-out images, evaluated with a mixture and with features of frames."""
    atlas, pairs = given.atlas, max(8, given.n // 8)
    generator = given.generator(3, on=atlas.device)
    start, end = (given.codes(images).means for images in (given.reference, given.others))
    model = EvaluationModel.on(given.mixture, torch.cat([start, end]))
    rows = {row: atlas.planner(COMPARED[row]) for row in PLANNERS}
    paths = plan_rows(
        atlas.map, start[:pairs], end[:pairs], rows, frames=FRAMES, generator=generator
    )
    table = travel_table(
        paths,
        evaluation_models={"mixture": model},
        decode=atlas.decode,
        features=given.features,
        reconstructions=given.features(torch.cat([atlas.decode(start), atlas.decode(end)])),
    )
    tables = {}
    for row, path in paths.items():
        means = {
            name: mean_of(values.double().cpu().numpy())
            for name, values in path.metrics.as_dict().items()
        }
        means["off_manifold mixture"] = mean_of(model.off_manifold(path.points).cpu().numpy())
        tables[row] = {name: means.get(name, Number(table[row][name])) for name in TOLD}
    return Section(
        "Do paths stay on the data distribution?",
        "The same paths by each planner. The share of frames off-manifold is by a Gaussian mixture "
        "of the codes, which no planner used; for real codes it is 5 %. The Fréchet distance, "
        "precision and recall compare all frames with reconstructions of held-out images.",
        tables,
        f"{len(start[:pairs])} paths of {FRAMES} frames between held-out images",
        given.seed,
        given.extractor.name,
    )


def geometry(given: EvaluationSet) -> Section:
    """The geometry of the latent space, with the good values."""
    found = given.atlas.geometry(generator=given.generator(4, on=given.atlas.device))
    return Section(
        "Is the latent space dense, smooth and locally Euclidean?",
        "Measured on held-out codes; the good value of each number is below.",
        {"the model": {name: Number(float(one.value)) for name, one in found.numbers().items()}},
        f"{found.pearson.samples} {found.pearson.of}",
        given.seed,
        found.features,
        notes=tuple(
            f"{name.replace('_', ' ')}: {one.good}" for name, one in found.numbers().items()
        ),
    )


def copies(given: EvaluationSet) -> Section:
    """Whether samples copy training images."""
    generator = given.generator(5, on=given.atlas.device)
    found, samples = sample_and_compare(given.atlas, given.learned, given.n, generator=generator)
    return Section(
        "Are samples copies of training images?",
        "Pixel distances to the nearest training image, of samples and of reconstructed held-out "
        f"images; {found.verdict()}.",
        {"the map": {name: Number(float(value)) for name, value in found.numbers().items()}},
        f"{given.n} samples against {len(given.learned)} training images",
        given.seed,
        "pixels",
        pictures=nearest_pairs(found, samples, given.learned),
    )


SECTIONS: dict[str, Callable[[EvaluationSet], Section]] = {
    "reconstruction": reconstruction,
    "sampling": sampling,
    "density": density,
    "calibration": calibration,
    "travel": travel,
    "geometry": geometry,
    "copies": copies,
}
"""The function of each section by its name, in the order of the page."""


def _by_components(given: EvaluationSet, dimension: int) -> Images:
    """The reference images, reconstructed from principal components of the training images."""
    from sklearn.decomposition import PCA  # imported here, since loading it takes seconds

    seed = int(torch.randint(2**31, (), generator=given.generator(0)))
    learned, images = (
        part.flatten(1).numpy() / np.float32(255) for part in (given.learned, given.reference)
    )
    components = PCA(dimension, svd_solver="randomized", random_state=seed).fit(learned)
    rebuilt = components.inverse_transform(components.transform(images))
    return torch.from_numpy(rebuilt).float().clamp(0, 1).reshape(given.reference.shape)


def _draws(given: EvaluationSet) -> tuple[dict[str, Images], list[str]]:
    """Decoded samples of each sampler, and warnings on samples that are biased."""
    generator = given.generator(1, on=given.atlas.device)
    drawn, notes = {}, []
    for row, sampler in SAMPLERS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the samples have them
            draws = given.atlas.sample_codes(given.n, sampler, generator=generator)
        drawn[row] = given.atlas.decode(draws.points).cpu()
        notes += [f"{row}: {warning}" for warning in draws.warnings]
    return drawn, notes


def _first(rows: dict[str, Tensor]) -> dict[str, Images]:
    """The first images of each row, for the picture."""
    return {row: images[:SHOWN] for row, images in rows.items()}


def _sentence(words: str) -> str:
    """With a capital and a full stop."""
    return words[:1].upper() + words[1:] + "."
