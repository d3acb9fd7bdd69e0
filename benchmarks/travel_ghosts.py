"""An image judge that no planner and no map has seen: does a decoded image look real, or like one between two others?

It is a small classifier of images, trained on decoded real codes against decoded points between them: on straight lines,
on turns round their mean, and drawn from the prior. It is trained on other images than those whose paths it evaluates.
An image is a ghost if it looks less real than 95 % of decoded held-out codes, so 5 % of these are ghosts by construction.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from latent_atlas.evaluation.features import Classifier, train_classifier
from latent_atlas.shapes import Images, Latents, Values, batched
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE

__all__ = ["GhostJudge", "as_seen", "points_between"]

EDGE = 0.1  # of a line or turn at either end, where an image is hardly between two
STEPS = 600  # of training, about
BATCH = 128  # images of a step, as `train_classifier` takes them
FEWEST = 1_000  # points of each kind to train on
MOST = 4_000  # real codes to train on

Decode = Callable[[Latents], Images]


@dataclass(frozen=True, eq=False)
class GhostJudge:
    """A classifier of decoded images: real codes against points between them.

    Attributes:
        classifier: Of images as a person sees them, see `as_seen`; class 1 is real.
        threshold: Log-odds below which an image is a ghost.
        auroc: How well it tells real codes that it was not trained on from points between these, by kind of point.
    """

    classifier: Classifier
    threshold: float
    auroc: dict[str, float]

    @classmethod
    def fit(
        cls, decode: Decode, learn: Latents, calibrate: Latents, *, generator: torch.Generator
    ) -> "GhostJudge":
        """Train on decoded codes, shape (n, d), and calibrate on those of other images, (m, d).

        Arguments:
            decode: Codes to images in [0, 1].
            learn: Real codes to train on; of more than 4,000 the first so many are used.
            calibrate: Real codes of other images, which set the threshold, and are what the AUROC is of.
            generator: Draws points between codes, and is the training's.
        """
        learn, some = learn[:MOST], calibrate[:MOST]
        fakes = points_between(learn, max(len(learn), FEWEST), generator=generator)
        codes = torch.cat([learn, *fakes.values()])
        labels = (torch.arange(len(codes)) < len(learn)).long()
        images = as_seen(decode(codes))
        classifier = train_classifier(
            images,
            labels,
            (images[::8], labels[::8]),  # its accuracy is not used
            epochs=max(1, STEPS * BATCH // len(codes)),
            generator=generator,
        )
        judge = cls(classifier, 0.0, {})
        real, auroc = judge.log_odds(decode(calibrate)), {}
        for kind, points in points_between(some, len(some), generator=generator).items():
            odds = torch.cat([real[: len(some)], judge.log_odds(decode(points))])
            auroc[kind] = float(roc_auc_score(torch.arange(len(odds)) < len(some), odds))
        return cls(classifier, real.quantile(OFF_MANIFOLD_SHARE).item(), auroc)

    @torch.no_grad()
    def log_odds(self, images: Images) -> Values:
        """Log-odds that each image is a decoded real code, shape (n,)."""
        network = self.classifier.network
        logits = batched(lambda part: network(part.float() / 255), as_seen(images), 512)
        return logits[:, 1] - logits[:, 0]

    def ghosts(self, images: Images) -> Tensor:
        """Which images are ghosts, shape (n,)."""
        return self.log_odds(images) < self.threshold


def as_seen(images: Images) -> Tensor:
    """Images in [0, 1] as bytes without transparency: on white, as on a page."""
    if images.shape[1] in (2, 4):
        alpha = images[:, -1:]
        images = images[:, :-1] * alpha + 1 - alpha
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def points_between(codes: Latents, n: int, *, generator: torch.Generator) -> dict[str, Latents]:
    """`n` points of each kind between random pairs of codes (m, d): on lines, on turns, and of the prior."""

    def pair() -> tuple[Tensor, Tensor, Tensor]:
        picks = torch.randint(len(codes), (2, n), generator=generator)
        s = EDGE + (1 - 2 * EDGE) * torch.rand(n, 1, generator=generator)
        return codes[picks[0]], codes[picks[1]], s

    a, b, s = pair()
    lines = torch.lerp(a, b, s)
    mean = codes.mean(dim=0)
    a, b, s = pair()
    a, b = a - mean, b - mean
    radius = torch.lerp(a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True), s)
    turns = mean + radius * torch.nn.functional.normalize(torch.lerp(a, b, s), dim=1)
    prior = torch.randn(n, codes.shape[1], generator=generator)
    return {"lines": lines, "turns": turns, "prior": prior}
