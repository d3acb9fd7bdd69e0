"""What the page says beside its pictures: captions, terms, and which command makes what is missing."""

from typing import NamedTuple

__all__ = ["PICTURES", "TERMS", "PictureWords"]


class PictureWords(NamedTuple):
    """What the page says about one picture."""

    title: str
    alt: str
    caption: str
    command: str
    """The command that makes it; RUN stands for the folder."""
    optional: bool = False
    """Whether a run is complete without it."""


PICTURES = {
    "reconstructions.png": PictureWords(
        "Reconstructions",
        "Held-out images, each above what the decoder makes of its code.",
        "Held-out images, which no network has learned from, above what the decoder makes of their codes. Look for "
        "the same shape and position in both; what is blurred below did not fit into the code.",
        "latent-atlas report RUN",
    ),
    "samples.png": PictureWords(
        "Samples",
        "A grid of images decoded from codes that were drawn from the map.",
        "Images decoded from codes that were drawn from the map. Look for variety, and for images that could belong "
        "to the collection; many alike mean that the draws keep to a few peaks of the density.",
        "latent-atlas sample RUN",
    ),
    "map.png": PictureWords(
        "Map",
        "A plane of the latent space: confusion, realness and log-density, with real codes, anchors and paths.",
        "One plane of the latent space through the anchors. Confusion is 1 bit where the latent discriminator D_z "
        "cannot tell codes of images from fake ones, and 0 bits where it is sure; log-density, in nats, says how "
        "likely a place is. The white line between dark ones is the edge of the population. Look for paths that stay "
        "inside it, and for gaps that a straight line crosses.",
        "latent-atlas map RUN",
    ),
    "levels.png": PictureWords(
        "Levels",
        "The same plane at noise levels from sharp to smooth: log-density as colour, the score as arrows.",
        "Log-density and score of the population noised more and more. Sharp levels know the details and pull only "
        "nearby; smooth ones forget them and pull from afar.",
        "latent-atlas map RUN --levels",
        optional=True,
    ),
    "boundaries.png": PictureWords(
        "Boundaries",
        "The same plane under several fake boundaries: realness, real codes and fake codes.",
        "Realness where D_z has learned the same codes against other fakes. Look for a line of realness 1/2 that "
        "follows the real codes: too close a boundary leaves D_z nothing to tell apart, too far a one nothing to learn "
        "near them.",
        "latent-atlas map RUN --boundaries",
        optional=True,
    ),
    "reliability.png": PictureWords(
        "Reliability",
        "The share of codes that are real against the realness D_z gives them, before and after correction.",
        "Of the held-out codes to which D_z gives a realness of 0.8, 80 % should be real: dots on the diagonal are "
        "honest, a curve flatter than it is overconfident, a steeper one too cautious.",
        "latent-atlas report RUN",
    ),
    "geometry.png": PictureWords(
        "Geometry",
        "Curves: image distance per latent distance and their correlation by radius, and singular values of the "
        "decoder's Jacobian.",
        "Whether the space is easy to handle. Left, how much an image changes per unit of latent distance, near and "
        "far; middle, how well latent distances foretell image distances; right, how unequally a small step changes "
        "the image in different directions. Look for flat and narrow bands, and for a correlation near 1; "
        "train.isometry makes them flatter, at some price in reconstruction.",
        "latent-atlas report RUN",
    ),
    "travel.png": PictureWords(
        "Travel",
        "Film strips of journeys between two images, and below them the log-density of each frame.",
        "Journeys between two images, frame by frame; by default a pair whose straight line sinks deep, while "
        "the table below averages over random pairs. Outlined frames are outside the population: their log-density "
        "is below the 5 % quantile of held-out real codes. The walk follows rule 2, z′ = z + α ∇ log D_z(z) + "
        "γ (z_B − z), on a schedule that ends at B: without it, a walk stops short where its two pulls cancel. The "
        "geodesic is the shortest way where places outside are long to cross. Look for journeys without outlines, and "
        "for curves that stay above the dashed line.",
        "latent-atlas travel RUN A B",
    ),
}
"""The pictures that a run should or may have, in the page's order."""

TERMS = {
    "Population": "Where the codes of real images lie. Its edge is the log-density that 5 % of held-out real codes "
    "fall short of, so real data are outside in 1 case of 20.",
    "Realness": "What D_z answers: the probability that a code comes from an image and not from the fake boundary. "
    "1/2 where both are equally dense.",
    "Confusion, in bits": "The entropy of that answer: 1 bit where it is 1/2, 0 bits where D_z is sure.",
    "Log-density, in nats": "D_z's logit plus the log-density of the boundary. One nat less is a factor of 2.72 less "
    "likely.",
}
