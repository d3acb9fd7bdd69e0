"""What maps, training modes and kinds of real codes are compared by."""

from latent_atlas.study.comparison import Criterion

__all__ = ["ARM_CRITERIA", "LOG_DENSITY", "MAP_CRITERIA", "MEANS_CRITERIA"]

LOG_DENSITY = Criterion("held-out log-density", ("log_prob",), "higher", "nats")

JOURNEYS = ("travel", "geodesic", "off_population")

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
        JOURNEYS,
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
    "odd": Criterion(
        "odd images found, mean over kinds (AUROC)", ("odd_mean",), "higher", short="odd images"
    ),
    "worth": Criterion(
        "draws that those samples are worth", ("effective_samples",), "", short="worth of draws"
    ),
    "misjudged": Criterion(
        "said realness against seen", ("misjudged",), "lower", "%", "realness misjudged"
    ),
}
"""Of every map."""

ARM_CRITERIA = (
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
        ("map", *JOURNEYS),
        "lower",
        "%",
        "journeys outside",
    ),
    Criterion(
        "odd images found, mean over kinds (AUROC)",
        ("map", "odd_mean"),
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
    *(MAP_CRITERIA[name] for name in ("frechet", "journeys", "ranking", "odd")),
)
