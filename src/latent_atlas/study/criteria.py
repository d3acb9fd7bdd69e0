"""The measures that maps, training modes and kinds of real codes are compared by."""

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
    "off_manifold": Criterion(
        "off-manifold frames of geodesics, by the evaluation model",
        OFF_MANIFOLD_FRAMES,
        "lower",
        "%",
        "off-manifold frames",
    ),
    "ranking": Criterion(
        "held-out codes ranked above off-manifold prior draws (AUROC)",
        ("ranking",),
        "higher",
        short="ranking",
    ),
    "outliers": Criterion(
        "outlier images detected, mean over kinds (AUROC)",
        ("outliers_mean",),
        "higher",
        short="outlier images",
    ),
    "effective_samples": Criterion(
        "effective sample size of those samples",
        ("effective_sample_size",),
        "",
        short="effective sample size",
    ),
    "calibration_error": Criterion(
        "predicted against observed realness",
        ("calibration_error",),
        "lower",
        "%",
        "calibration error",
    ),
}
"""Measures of every map."""

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
        "off-manifold frames of geodesics, by the evaluation model",
        ("map", *OFF_MANIFOLD_FRAMES),
        "lower",
        "%",
        "off-manifold frames",
    ),
    Criterion(
        "outlier images detected, mean over kinds (AUROC)",
        ("map", "outliers_mean"),
        "higher",
        short="outlier images",
    ),
    Criterion(
        "AUC of the fresh probe, 1/2 if codes follow the prior",
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
        "log-density of training codes minus that of held-out codes",
        ("gap",),
        "lower",
        "nats",
        "overfitting",
    ),
    *(MAP_CRITERIA[name] for name in ("frechet", "off_manifold", "ranking", "outliers")),
)
