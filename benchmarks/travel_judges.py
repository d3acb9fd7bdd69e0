"""What evaluates the paths of one run: densities, features, an image judge and a classifier of kinds.

None of it has planned a path. The held-out images are halved: one half gives the pairs and all thresholds; densities, image
judge and the reconstructions that frames are compared with are of the other half, or frames near their ends would be compared
with these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from baselines import Fitted, fit_flow, fit_gaussian_mixture
from latent_atlas import Atlas
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import Density
from latent_atlas.density.membership import Membership
from latent_atlas.evaluation import EvaluationModel, frame_numbers
from latent_atlas.evaluation.features import Extractor
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.geometry.manifold import Manifold, manifold_of
from latent_atlas.shapes import Images, Latents
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE
from latent_atlas.travel.path import LatentPath
from travel_ghosts import GhostJudge, as_seen

__all__ = ["Judges", "Numbers", "Seen", "near_numbers", "path_numbers", "real_numbers"]

EVALUATION_MODELS: dict[str, Callable[..., Fitted]] = {
    "flow": fit_flow,
    "mixture": fit_gaussian_mixture,
}
DRAWS = 100_000  # codes that each evaluation model is fitted to, sampled from the posteriors of its half
CHECKS = 5_000  # of the same, which say when to stop, and how well a model fits
LABELLED = 4_000  # images, at most, that the classifier of kinds is fitted to and checked on
COMPONENTS = 64  # principal components that are kept of more features, so that few images show their covariance
DRAWN = 4  # sets of equally many frames, whose Fréchet distances are averaged

Rows = Float[np.ndarray, "n f"]
Numbers = dict[str, float]


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen of decoded frames.

    Attributes:
        features: Shape (frames, n, f).
        ghosts: Which frames are ghosts, shape (frames, n).
        kinds: Class numbers, shape (frames, n), or None in a collection without labels.
        contrast: Mean difference of neighbouring pixels of the inner frames.
    """

    features: Float[np.ndarray, "frames n f"]
    ghosts: np.ndarray
    kinds: np.ndarray | None
    contrast: float

    @property
    def steps(self) -> Float[np.ndarray, "steps n"]:
        """Distances of features between neighbouring frames."""
        return np.linalg.norm(np.diff(self.features, axis=0), axis=2)

    @property
    def jump(self) -> Float[np.ndarray, " n"]:
        """The largest of them, by path."""
        return self.steps.max(axis=0)


@dataclass(frozen=True, eq=False)
class Judges:
    """The judges of one run.

    Attributes:
        densities: Evaluation models by name.
        decode: The run's decoder.
        features: Of images in [0, 1].
        real: The manifold of the reconstructions of the other half.
        nearest: Finds the nearest of them.
        nearby: Mean distance of a reconstruction of the pairs' half to it.
        contrast: Of the reconstructions.
        count: Images of a set whose Fréchet distance is computed, since that depends on the number.
        ghost: Tells decoded real codes from decoded points between them.
        kind: Classifier of features, or None in a collection without labels.
        membership: The run's own.
        about: What to print beside the numbers.
    """

    densities: Mapping[str, EvaluationModel]
    decode: Callable[[Latents], Images]
    features: Callable[[Images], Rows]
    real: Manifold
    nearest: NearestNeighbors
    nearby: float
    contrast: float
    count: int
    ghost: GhostJudge
    kind: Pipeline | None
    membership: Membership | None
    about: dict[str, Any]

    @classmethod
    def of(
        cls,
        atlas: Atlas,
        extractor: Extractor,
        mine: Codes,
        theirs: Codes,
        *,
        frames: int,
        seconds: float,
        generator: torch.Generator,
    ) -> "Judges":
        """Fit all judges of a run.

        Arguments:
            atlas: The run.
            extractor: What features are of.
            mine: The codes that paths connect.
            theirs: Codes of other held-out images.
            frames: How many of a planner there are.
            seconds: Fitting time of each density.
            generator: Of all fits.
        """
        # Where held-out images are few, training images join them: their threshold is of `mine` all the same.
        learn = torch.cat([theirs.means, atlas.codes["train"].means])
        ghost = GhostJudge.fit(atlas.decode, learn, mine.means, generator=generator)
        some = torch.randperm(len(atlas.codes["train"]), generator=generator)[:LABELLED]
        basis, centre = components(
            features_of(extractor, atlas.decode(atlas.codes["train"].means[some]))
        )

        def features(images: Images) -> Rows:
            return (features_of(extractor, images) - centre) @ basis

        kind, accuracy = kind_classifier(atlas, features, some)
        # Last of all fits, since how much they draw depends on time.
        fitted = fit_densities(theirs, seconds, generator)
        rebuilt = atlas.decode(theirs.means)
        real = features(rebuilt)
        nearest = NearestNeighbors(n_neighbors=1).fit(real)
        others = features(atlas.decode(mine.means))
        about = {
            "features": extractor.name
            if basis.shape[0] == basis.shape[1]
            else f"{basis.shape[1]} principal components of {extractor.name}",
            "codes of each half": len(mine),
            "AUROC of ghosts": ghost.auroc,
            "accuracy of kinds": accuracy,
            "densities": {
                name: {"log q": both_halves(density, mine, theirs, generator), **density.about}
                for name, density in fitted.items()
            },
        }
        return cls(
            {name: EvaluationModel.on(density, mine.means) for name, density in fitted.items()},
            atlas.decode,
            features,
            manifold_of(real),
            nearest,
            float(nearest.kneighbors(others)[0].mean()),
            contrast(rebuilt),
            min(frames, len(mine)),
            ghost,
            kind,
            atlas.membership,
            about,
        )

    def seen(self, points: Tensor) -> Seen:
        """What is seen of paths, shape (frames, n, d), or of codes, shape (n, d), as one frame."""
        points = points if points.ndim == 3 else points[None]
        images = self.decode(points.flatten(0, 1))
        features, shape = self.features(images), points.shape[:2]
        kinds = None if self.kind is None else self.kind.predict(features).reshape(shape)
        inner = images.unflatten(0, shape)[1:-1] if len(points) > 2 else images[None]
        return Seen(
            features.reshape(*shape, -1),
            self.ghost.ghosts(images).reshape(shape).numpy(),
            kinds,
            contrast(inner.flatten(0, 1)),
        )

    def look(self, frames: Rows) -> Numbers:
        """Numbers of all frames together, by their features; "nearest real" is 1 for other real images."""
        return {
            **frame_numbers(frames, self.real),
            "frechet": frechet(frames, self.real.features, self.count),
            "nearest real": float(self.nearest.kneighbors(frames)[0].mean()) / self.nearby,
        }

    def place(self, points: Tensor) -> Numbers:
        """Shares of the inner frames of paths (frames, n, d) that the densities and the run's membership reject."""
        numbers = {
            f"off_manifold {name}": model.off_manifold(points).mean().item()
            for name, model in self.densities.items()
        }
        if self.membership is not None:
            p_values = self.membership.p_value(points[1:-1].flatten(0, 1))
            numbers["non_members"] = (p_values < OFF_MANIFOLD_SHARE).float().mean().item()
        return numbers


def path_numbers(path: LatentPath, seen: Seen, straight: Seen, judges: Judges) -> Numbers:
    """All numbers of a planner's paths between random pairs.

    Arguments:
        path: The paths.
        seen: What is seen of them.
        straight: What is seen of straight lines between the same ends.
        judges: The judges of the run.

    Returns:
        Means over frames or paths; medians (p50) and 95 % quantiles (p95) over paths of the largest step in features,
        relative to the straight line's, and of the length, relative to the straight line.
    """
    numbers = judges.place(path.points)
    numbers["ghosts"] = float(seen.ghosts[1:-1].mean())
    numbers |= judges.look(seen.features[1:-1].reshape(-1, seen.features.shape[-1]))
    if seen.kinds is not None:
        numbers["kinds"] = float(
            ((seen.kinds == seen.kinds[0]) | (seen.kinds == seen.kinds[-1]))[1:-1].mean()
        )
    numbers["contrast"] = seen.contrast / judges.contrast
    numbers |= spread_of("jump", seen.jump / straight.jump)
    numbers |= spread_of("length", path.metrics.length_ratio.numpy())
    numbers["distance_left"] = path.metrics.distance_left.mean().item()
    if path.info.seconds is not None:
        numbers["seconds_per_path"] = path.info.seconds / path.points.shape[1]
    return numbers


def near_numbers(path: LatentPath, seen: Seen, straight: Seen) -> Numbers:
    """The numbers of paths between near pairs."""
    return {
        "near ghosts": float(seen.ghosts[1:-1].mean()),
        "near jump": float(np.median(seen.jump / straight.jump)),
        "near length": path.metrics.length_ratio.mean().item(),
    }


def real_numbers(codes: Latents, judges: Judges) -> Numbers:
    """The numbers of real codes (n, d) that are no paths: what frames are compared with."""
    seen = judges.seen(codes)
    return {
        **judges.place(torch.stack([codes] * 3)),  # of three frames one is an inner frame
        "ghosts": float(seen.ghosts.mean()),
        **judges.look(seen.features[0]),
        "contrast": seen.contrast / judges.contrast,
    }


def spread_of(name: str, values: np.ndarray) -> Numbers:
    """Median and 95 % quantile."""
    return {
        f"{name} p50": float(np.median(values)),
        f"{name} p95": float(np.quantile(values, 0.95)),
    }


def frechet(frames: Rows, real: Rows, count: int) -> float:
    """Fréchet distance of `count` frames to real images; of more, several sets are drawn and averaged."""
    if len(frames) <= count:
        return frechet_distance(frames, real)
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(frames), count, replace=False) for _ in range(DRAWN)]
    return float(np.mean([frechet_distance(frames[rows], real) for rows in drawn]))


def features_of(extractor: Extractor, images: Images) -> Rows:
    """Features of images in [0, 1], as seen on white."""
    return extractor.features(as_seen(images)).numpy()


def kind_classifier(
    atlas: Atlas, features: Callable[[Images], Rows], some: Tensor
) -> tuple[Pipeline | None, float | None]:
    """A classifier of the features of decoded images, if they have labels, and its accuracy on held-out ones.

    Arguments:
        atlas: The run.
        features: Of images in [0, 1].
        some: The training images that it is fitted to, by number.
    """
    if "train" not in atlas.labels:
        return None, None
    seen = {
        part: features(atlas.decode(atlas.codes[part].means[rows]))
        for part, rows in (("train", some), ("held_out", slice(LABELLED)))
    }
    kind = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    kind.fit(seen["train"], atlas.labels["train"][some].numpy())
    return kind, float(kind.score(seen["held_out"], atlas.labels["held_out"][:LABELLED].numpy()))


def components(features: Rows) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis (f, k) of the principal components that are kept, and the centre (f,)."""
    centre = features.mean(axis=0)
    if features.shape[1] <= 2 * COMPONENTS:
        return np.eye(features.shape[1], dtype=features.dtype), centre
    _, _, axes = np.linalg.svd(features - centre, full_matrices=False)
    return axes[:COMPONENTS].T, centre


def contrast(images: Images) -> float:
    """Mean difference of neighbouring pixels: the contrast of images (n, c, h, w)."""
    images = as_seen(images).float() / 255
    return sum(images.diff(dim=axis).abs().mean().item() for axis in (2, 3))


def fit_densities(codes: Codes, seconds: float, generator: torch.Generator) -> dict[str, Fitted]:
    """The evaluation models, fitted to their half alone; a tenth of its images decides when to stop."""
    learn, check = codes.split(0.1, generator=generator)
    train, held_out = (
        learn.sample(DRAWS, generator=generator),
        check.sample(CHECKS, generator=generator),
    )
    return {
        name: fit(train, held_out, seconds=seconds, generator=generator)
        for name, fit in EVALUATION_MODELS.items()
    }


@torch.no_grad()
def both_halves(
    density: Density, mine: Codes, theirs: Codes, generator: torch.Generator
) -> Numbers:
    """Mean log q in nats on the half that a model was fitted to and on the other; a gap is overfitting."""
    halves = {"its own half": theirs, "the pairs' half": mine}
    return {
        name: density.log_prob(half.sample(CHECKS, generator=generator)).mean().item()
        for name, half in halves.items()
    }
