"""The captions of a report's pictures, the terms it explains, and the command for each part."""

from typing import NamedTuple

__all__ = ["PICTURES", "TERMS", "TRAINING_CURVES", "PictureWords"]


class PictureWords(NamedTuple):
    """The text of the page about one picture."""

    title: str
    alt: str
    caption: str
    command: str
    """The command that makes it; RUN stands for the folder."""
    optional: bool = False
    """Whether a run is complete without it."""
    decoded: bool = False
    """Whether it needs a decoder, which a run of `embed` has not."""


PICTURES = {
    "reconstructions.png": PictureWords(
        "Reconstructions",
        "Held-out images, each above its reconstruction.",
        "Held-out images, which no network was trained on, above their reconstructions. Look for "
        "the same shape and position in both; what is blurred below did not fit into the code.",
        "latent-atlas report RUN",
        decoded=True,
    ),
    "rarity.png": PictureWords(
        "Rare and typical images",
        "A row of the rarest images, above a row of the most typical ones.",
        "The rarest and the most typical images of the collection, by the mean distance to the ten "
        "nearest others. Look among the rare ones for what does not belong to it.",
        "latent-atlas report RUN",
        optional=True,
    ),
    "duplicates.png": PictureWords(
        "Duplicates",
        "A row for each of the first groups of copies and near-duplicates.",
        "Copies, and images whose codes are nearer to each other than is usual. Mirrored pictures "
        "are near-duplicates for a network.",
        "latent-atlas duplicates RUN",
        optional=True,
    ),
    "compare.png": PictureWords(
        "Comparison",
        "Images of another set that are unlike those of the run, and images that it lacks.",
        "What either side lacks, of the run and of the set that it was last compared with.",
        "latent-atlas compare RUN OTHER",
        optional=True,
    ),
    "samples.png": PictureWords(
        "Samples",
        "A grid of images of codes that were sampled from the map.",
        "Images of codes that were sampled from the map: decoded, or of an embedded collection the "
        "real images nearest to them. Look for variety, and for images that could belong to the "
        "data; if many are alike, the samples cover only a few modes.",
        "latent-atlas sample RUN",
    ),
    "map.png": PictureWords(
        "Map",
        "A plane of the latent space: confusion, realness and log-density, with real codes, "
        "anchors and paths.",
        "A plane of the latent space through three anchors. Confusion is 1 bit where the latent "
        "discriminator D_z cannot tell real codes from fake ones, and 0 bits where it is certain. "
        "Of wide codes typicality stands in place of realness: the share of held-out codes that "
        "are less likely. Log-density is in nats. The white line with dark borders is the density "
        "threshold. Look for paths that stay inside it, and for low-density regions that a "
        "straight line crosses.",
        "latent-atlas map RUN",
    ),
    "levels.png": PictureWords(
        "Levels",
        "The same plane at increasing noise levels: log-density as colour, the score as arrows.",
        "Log-density and score of the data distribution at increasing noise levels. Low levels "
        "resolve details, and their score acts only nearby; high levels lose the details, and "
        "their score points to the data from far away.",
        "latent-atlas map RUN --levels",
        optional=True,
    ),
    "boundaries.png": PictureWords(
        "Boundaries",
        "The same plane under several boundaries: realness, real codes and fake codes.",
        "Realness where D_z was trained on the same codes against other fake codes. Look for a "
        "contour of realness 1/2 that follows the real codes. A boundary too close to them leaves "
        "D_z nothing to separate; one too far away teaches it nothing about their neighbourhood.",
        "latent-atlas map RUN --boundaries",
        optional=True,
    ),
    "reliability.png": PictureWords(
        "Reliability",
        "The observed share of real codes against the realness that D_z predicts, before and after "
        "correction.",
        "Of the held-out codes to which D_z gives a realness of 0.8, 80 % should be real. Dots on "
        "the diagonal are calibrated; a flatter curve is overconfident, a steeper one "
        "underconfident.",
        "latent-atlas report RUN",
    ),
    "geometry.png": PictureWords(
        "Geometry",
        "Curves: image distance per latent distance and their correlation by radius, and singular "
        "values of the decoder's Jacobian.",
        "How far the latent space is from a Euclidean one. Left: how much an image changes per "
        "unit of latent distance, near and far. Middle: the correlation of latent with image "
        "distances. Right: how unequally small steps in different directions change the image. "
        "Look for flat and narrow bands, and for a correlation near 1. The setting train.isometry "
        "flattens the bands, at some cost in reconstruction.",
        "latent-atlas report RUN",
        decoded=True,
    ),
    "travel.png": PictureWords(
        "Travel",
        "Film strips of paths between two images, and below them the log-density of each frame.",
        "Paths between two images, frame by frame. By default the pair is one whose straight line "
        "crosses a region of low density; the table below averages over random pairs. Outlined "
        "frames are off-manifold: their log-density is below the 5 % quantile of held-out real "
        "codes. Frames unlike real codes look less like these than 95 % of them do, by their "
        "density, their distance from the mean and what decoding and encoding changes. The walk "
        "follows rule 2, z′ = z + α ∇ log D_z(z) + γ (z_B − z), on a schedule "
        "that ends at B; without it, the walk stops where its two terms cancel. The typical path "
        "keeps as far from the middle of the codes as real codes are. Look for strips without "
        "outlines, and for curves above the dashed line.",
        "latent-atlas travel RUN A B",
    ),
    "typefaces.png": PictureWords(
        "Between two typefaces",
        "Film strips of the letter a from a serif to a sans typeface, by two planners.",
        "The straight line and the typical path from one held-out typeface to another. Look for "
        "letters that could be of a typeface in between.",
        "latent-atlas demo --glyphs --out RUN",
        optional=True,
    ),
    "weight.png": PictureWords(
        "Along weight",
        "Film strips of two letters that become heavier.",
        "Two held-out letters that become heavier, in equal steps of their weight. Look for stems "
        "that grow, and for a shape that stays.",
        "latent-atlas travel RUN test:80 --traverse weight --to 800",
        optional=True,
    ),
    "outliers.png": PictureWords(
        "Outliers",
        "The held-out letters with the highest and the lowest anomaly scores, above their "
        "reconstructions.",
        "The least and the most usual held-out letters, by their anomaly scores, above what is "
        "decoded of their codes.",
        "latent-atlas demo --glyphs --out RUN",
        optional=True,
    ),
}
"""The pictures that a run should or may have, in the page's order."""

TRAINING_CURVES = (
    "Look for a reconstruction error that has stopped falling, for discriminators whose loss has "
    "not reached 0, and for a held-out loss that has not turned upwards."
)

TERMS = {
    "Population": (
        "The region where the codes of real images lie: log-density above the density "
        "threshold, the 5 % quantile of held-out real codes. Codes below it are off-manifold; by "
        "construction, 5 % of real codes are."
    ),
    "Realness": (
        "D_z(z), the probability that a code comes from an image and not from the boundary. It "
        "is 1/2 where both are equally dense."
    ),
    "Confusion, in bits": (
        "The entropy of that probability: 1 bit where it is 1/2, 0 bits where D_z is certain."
    ),
    "Log-density, in nats": (
        "The logit of D_z plus the log-density of the boundary. One nat less is "
        "less likely by a factor of 2.72."
    ),
}
"""The terms that the page explains, in its order."""
