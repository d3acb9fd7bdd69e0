"""What maps, training modes and kinds of real codes are compared by."""

from latent_atlas.study.comparison import Criterion

__all__ = ["LOG_DENSITY", "MAP_CRITERIA", "MEANS_CRITERIA", "MODE_CRITERIA"]

LOG_DENSITY = Criterion("held-out log-density", ("log_prob",), "higher", "nats")

OFF_MANIFOLD_FRAMES = ("travel", "geodesic", "off_manifold")

MAP_CRITERIA = {
    "log_prob": LOG_DENSITY,
    "frechet": Criterion(
        "Fréchet distance of samples through the map",
        ("frechet",),
        "lower",
        short="Fréchet, samples",
    ),
    "journeys": Criterion(
        "frames of geodesics outside the population, by the judge",
        OFF_MANIFOLD_FRAMES,
        "lower",
        "%",
        "journeys outside",
    ),
    "ranking": Criterion(
        "held-out codes ranked above prior draws outside (AUROC)",
        ("ranking",),
        "higher",
        short="ranking",
    ),
    "outliers": Criterion(
        "odd images found, mean over kinds (AUROC)",
        ("outliers_mean",),
        "higher",
        short="odd images",
    ),
    "worth": Criterion(
        "draws that those samples are worth", ("effective_samples",), "", short="worth of draws"
    ),
    "misjudged": Criterion(
        "said realness against seen", ("misjudged",), "lower", "%", "realness misjudged"
    ),
}
"""Of every map."""

MODE_CRITERIA = (
    Criterion("reconstruction error (MSE)", ("mse",), "lower"),
    Criterion(
        "Fréchet distance of prior samples",
        ("frechet_prior",),
        "lower",
        short="Fréchet, prior samples",
    ),
    Criterion(
        "Fréchet distance of samples through a fresh map",
        ("map", "frechet"),
        "lower",
        short="Fréchet, samples",
    ),
    Criterion(
        "frames of geodesics outside the population, by the judge",
        ("map", *OFF_MANIFOLD_FRAMES),
        "lower",
        "%",
        "journeys outside",
    ),
    Criterion(
        "odd images found, mean over kinds (AUROC)",
        ("map", "outliers_mean"),
        "higher",
        short="odd images",
    ),
    Criterion(
        "AUC of the fresh probe, 1/2 where codes are as the prior",
        ("probe", "auc"),
        "",
        short="probe's AUC",
    ),
    Criterion("KL(q(z|x) || p) of an image", ("kl_per_image",), "", "nats", "KL of an image"),
    Criterion("active units", ("active_units",), ""),
)
MEANS_CRITERIA = (
    MAP_CRITERIA["log_prob"],
    Criterion(
        "held-out log-density of means",
        ("log_prob_means",),
        "higher",
        "nats",
        "log-density of means",
    ),
    Criterion(
        "log-density lost from images learned from to held-out ones",
        ("gap",),
        "lower",
        "nats",
        "overfitting",
    ),
    *(MAP_CRITERIA[name] for name in ("frechet", "journeys", "ranking", "outliers")),
)
