"""The measured figures as a page: `docs/measured.md`, written from what lies in `results/` and from nothing else.

python benchmarks/tables.py            # after a benchmark; a test holds page and results together
"""

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "measured.md"

Row = dict[str, Any]

HEAD = """# Measured

Every figure has a script in `benchmarks/`, its result in `benchmarks/results/`, and baselines that were run in the same
harness on the same data. `benchmarks/tables.py` writes this page from these results. Fréchet distances are computed in the
features named beside them, and are comparable within a table only.
"""


def main() -> None:
    PAGE.write_text(page())


def page() -> str:
    """The whole page as Markdown."""
    sections = (
        paths,
        exact_paths,
        members,
        preserved,
        samples,
        exact_samples,
        anomalies,
        comparisons,
        densities,
        few_codes,
        few_images,
        estimators,
        worlds,
        wide,
        left_out,
        decoders,
        spatial,
        ratios,
        networks,
        variants,
        between,
        peers,
        speed,
    )
    return "\n".join([HEAD, *(section() for section in sections)])


def paths() -> str:
    """Planners between held-out images, evaluated by models that did not plan."""
    columns = {
        "off_manifold flow": "off-manifold: flow",
        "off_manifold mixture": "mixture",
        "non_members": "non-members",
        "ghosts": "ghosts",
        "precision": "precision",
        "recall": "recall",
        "frechet": "Fréchet",
        "nearest real": "nearest real",
        "kinds": "kinds of the ends",
        "contrast": "contrast",
        "feature_jump": "largest jump",
        "jump p50": "largest jump / straight",
        "jump p95": "p95",
        "length_ratio": "length / straight",
        "length p50": "length / straight, p50",
        "length p95": "length / straight, p95",
        "distance_left": "distance left",
        "near ghosts": "near pairs: ghosts",
        "near jump": "near pairs: jump",
        "near length": "near pairs: length",
        "seconds_per_path": "seconds per path",
    }
    found = every("travel", "travel-more")
    parts = seen_by_features("planner", found, columns)
    about = (
        "Paths between random held-out images. Their frames are evaluated by a flow and a Gaussian mixture fitted to other "
        "codes, and by a classifier's features of the decoded frames beside reconstructions. Two rows are not paths: "
        "other real codes, and for each frame of the straight line the real code nearest to it. Ghosts are frames whose images "
        "look less real than 95 % of decoded real codes to a classifier trained on decoded real codes against decoded points "
        "between them; nearest real is the distance of a frame's features to the nearest real image's, relative to that of real "
        "images; kinds of the ends, the share of frames whose class is that of an end. Near pairs are an image and its fifth "
        "neighbour. ± is the standard deviation over runs."
    )
    return section("Paths", about, parts, *found)


def exact_paths() -> str:
    """The least likely point of each path on toy densities in closed form."""
    found = read("travel_exact")
    rows: dict[str, Row] = {}
    for world in found["results"]["worlds"]:
        for planner, numbers in world["rows"].items():
            rows.setdefault(planner, {})[f"{world['world']}, {world['d']}"] = numbers[
                "nats under the best"
            ]
    about = "Nats by which a path's least likely point is below that of the best possible path; density and d."
    return section("Paths on densities in closed form", about, [table("planner", rows)], found)


def members() -> str:
    """What tells real codes from points between two of them."""
    found = read("membership")
    asked = {
        "AUROC": "membership",
        "AUROC without decoder": "of codes alone",
        "AUROC of D_z against between": "D_z against between",
        "AUROC of log q": "log q",
    }
    columns = {
        f"{key}, middle of the {place}": f"{place}: {name}"
        for place in ("line", "turn")
        for key, name in asked.items()
    }
    columns |= {"false alarms": "false alarms", "codes of each half": "codes of each half"}
    about = (
        "How well held-out real codes are told from the middle between two of them, on the line and on the turn round their "
        "mean: AUROC, means over two halves of the codes, of which one fits membership and the other is asked. Against "
        "between: a D_z of its own, trained against such points."
    )
    return section(
        "Real codes and points between them",
        about,
        [table("collection", found["results"], columns)],
        found,
    )


def preserved() -> str:
    """What `preserve` keeps, by a classifier of images."""
    columns = {
        "frames of A's class": "frames of A's class",
        "last frames of A's class": "last frames",
        "progress": "progress in the rest",
        "paths with half of the way": "half of the way",
        "off_manifold": "off-manifold",
        "outside": "off-manifold",  # in older results
        "length_ratio": "length / straight",
    }
    about_readers = {
        "reconstructions read as labelled": "reconstructions read as labelled",
        "commonest value": "commonest value",
        "two classifiers agree": "two classifiers agree",
        "probe's accuracy": "probe's accuracy",
        "seconds a path": "seconds a path",
    }
    parts, found = [], every("preserve", "preserve-faces")
    readers: dict[str, Row] = {}
    for one in found:
        for data, attributes in one["results"].items():
            for attribute, numbers in attributes.items():
                readers[f"{data}: {attribute}"] = numbers
                paths = numbers.get("paths") or numbers["journeys"]  # in older results
                caption = f"{data}: {attribute}, {paths} paths; {numbers['judge']}"
                parts.append(table("planner", numbers["rows"], columns, caption=caption))
    parts.insert(0, table("attribute", readers, about_readers))
    about = (
        "Paths with and without `preserve`, evaluated by an image classifier that neither map nor probe was trained with. "
        "What the decoder shows of an attribute, and how often a second such classifier agrees on reconstructions, bound it."
    )
    return section("Preserved attributes", about, parts, *found)


def samples() -> str:
    """Samplers and their baselines."""
    columns = {
        "frechet": "Fréchet to images",
        "frechet, spread": "±",
        "above the bound": "above real codes",
        "frechet to decoded": "Fréchet to decoded",
        "frechet to decoded, spread": "±",
        "precision": "precision",
        "recall": "recall",
        "seconds": "seconds",
    }
    found = every("sampling", "sampling-64", "sampling-64-flow", "sampling-faces")
    parts = seen_by_features("sampler", found, columns)
    about = (
        "Decoded samples against held-out images, and against the decoded codes of these images. `real codes`, of other "
        "images, are the bound; ± is the standard deviation over seeds."
    )
    return section("New images", about, parts, *found)


def exact_samples() -> str:
    """Two-sample tests where the density is known."""
    found = read("samplers_exact")
    rows, errors = {}, {}
    by_world = grouped(found["results"]["rows"], "world")
    for world, runs in by_world:
        rows[world] = {name: passed(seeds) for name, seeds in grouped(runs, "sampler")}
        smc = [run for run in runs if run["sampler"] == "smc"]
        constants = [run["log_constant"] / run["log_constant_error"] for run in smc]
        exact = [run for run in runs if run["sampler"] == "exact draws"]
        errors[world] = {
            f"{part}{of}": max(run.get(key, 0.0) for run in some) or None
            for part, key in (("means", "mean"), ("shares", "shares"))
            for of, some in (("", smc), (" of exact draws", exact))
        }
        errors[world] |= {
            "log Z": max(map(abs, constants)),
            "effective share": mean(run["effective_share"] for run in smc),
        }
    about = (
        "Seeds in which no two-sample test rejects 20,000 samples. The clusters of `separated` lie some 12 widths apart, and "
        "have 5 to 30 % of the probability."
    )
    below = (
        "Sequential Monte Carlo: the largest error of any coordinate's mean and of any cluster's share, in standard errors of "
        "20,000 independent samples, in all seeds, beside those of exact draws; that of log Z, in its own. Moons and rings "
        "consist of many clusters."
    )
    tables = [table("world", rows), below, table("world", errors)]
    return section("Samples of densities in closed form", about, tables, found)


def passed(seeds: list[Row]) -> str:
    """In how many of the seeds a sampler passes."""
    if "refused" in seeds[0]:
        return "refused"
    return f"{sum(run['passes'] for run in seeds)} of {len(seeds)}"


CONFIRM = ("mnist", "faces")
OURS = ("latent atlas", "without sharpness and texture", "codes alone")


def anomalies() -> str:
    """AUROC by anomaly score and kind of anomaly."""
    found = read("anomalies")
    alarms = [100 * one["false alarms"] for one in found["results"].values()]
    confirm = {name: found["results"][name] for name in CONFIRM}
    left_out = {
        n: told for n, told in found["results"].items() if n.startswith("fashion-mnist without")
    }
    means, confirmed, foreign = (
        by_kind(some)["mean of all"] for some in (found["results"], confirm, left_out)
    )
    best, best_confirmed = (
        max(value for name, value in some.items() if name not in OURS)
        for some in (means, confirmed)
    )
    oracle = mean(
        max(row.values())
        for name, row in by_kind(found["results"]).items()
        if name != "mean of all"
    )
    about = (
        "AUROC of anomalous against real images; nothing is fitted to anomalies. At a nominal false-alarm rate of "
        f"5 % the median of {len(alarms)} models is {median(alarms):.1f} %, and single ones have {min(alarms):.1f} to "
        f"{max(alarms):.1f} %. The mean over all rows is {means['latent atlas']:.3f}, and that of the best baseline {best:.3f}. "
        f"It cannot reach 0.95 by any choice among these scores: the best of them on each row, which nobody knows beforehand, "
        f"have a mean of {oracle:.3f}. What bounds it are images that hardly differ from real ones, such as mirrored faces, and "
        f"shirts or coats left out of Fashion-MNIST beside pullovers and dresses: over its ten left-out classes the score has "
        f"{foreign['latent atlas']:.3f}, its codes alone {foreign['codes alone']:.3f}, LOF of the same codes {foreign['LOF']:.3f}, and neighbours among EfficientNet's features "
        f"{foreign['neighbour 10, EfficientNet']:.3f}. *Codes alone* is the score of codes that come without images. How the parts are combined, and sharpness and "
        "texture, were chosen on the digits models and on fashion-mnist with altered images, and the distance to learned codes on the classes left out "
        f"of Fashion-MNIST. Nothing was chosen on {' and '.join(CONFIRM)}: there the mean is {confirmed['latent atlas']:.3f} "
        f"({confirmed['without sharpness and texture']:.3f} without sharpness and texture), and that of the best baseline "
        f"{best_confirmed:.3f}. EfficientNet has learned from millions of other images."
    )
    rows = by_kind(found["results"])
    parts, sources = [table("real: anomalous", rows)], [found]
    if more := every("anomalies-membership"):
        parts.append(unlike(more[0]["results"]))
        sources += more
    return section("Anomalies", about, parts, *sources)


def by_kind(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """AUROC of every score, by model and kind of anomaly, and its mean."""
    rows = {
        f"{model}: {kind}": {score: one["value"] for score, one in told["auroc"].items()}
        for model, numbers in results.items()
        for kind, told in numbers["odd"].items()
    }
    return rows | {
        "mean of all": {score: mean(row[score] for row in rows.values()) for score in named(rows)}
    }


def unlike(results: dict[str, Any]) -> str:
    """Whether membership tells anomalies, alone and as a part of the score, by model."""
    rows = {}
    for model, numbers in results.items():
        kinds = [told["auroc"] for told in numbers["odd"].values()]
        rows[model] = {score: mean(one[score]["value"] for one in kinds) for score in kinds[0]}
        rows[model] |= {name: value for name, value in numbers.items() if "false alarms" in name}
    rows["mean of all"] = {name: mean(row[name] for row in rows.values()) for name in named(rows)}
    caption = (
        "Mean AUROC over the kinds of anomalies, and the share of real images that would be called outliers at 5 %, of the "
        "score of an earlier version (the length of the vector of its parts), of the p-value of membership, and of that score with "
        "membership as a further part. It gains on blurred images and loses on others, so the score is without it, and reports it beside"
    )
    return table("real", rows, caption=caption)


def comparisons() -> str:
    """Drift in embeddings, found by two tests."""
    found = read("comparison")
    rows, of = found["results"], found["settings"]
    about = (
        f"Codes of {of['other']} icons compared with 935 others, {of['repeats']} times, and how often a test calls the two different at "
        f"5 %: a share of the {of['other']} is drawn from one kind alone ({of['kind']}). The classifier is a logistic regression whose "
        "accuracy on halves that it has not seen is tested by permutations."
    )
    return section("Two sets of images", about, [table("OTHER", rows)], found)


def densities() -> str:
    """Held-out log-density of real codes."""
    found, rows = read("latent_density"), {}
    for space, numbers in found["results"].items():
        for name, one in numbers["estimators"].items():
            rows.setdefault(name, {})[space] = one["log q"]
            if "E_r[exp l]" in one:
                rows[name][f"E_r[exp l], {space}"] = (
                    f"{one['E_r[exp l]']:.2f} ± {one['its error']:.2f}"
                )
    about = "Mean log-density of held-out Fashion-MNIST codes in nats; a map is normalised where E_r[exp l] is 1."
    return section("The density of real codes", about, [table("estimator", rows)], found)


def few_codes() -> str:
    """What keeps D_z from overfitting few codes."""
    found = read("few_codes")
    columns = {
        "seeds": "seeds",
        "log q": "log q",
        "gain": "gain",
        "log q, learned from": "log q, learned from",
        "held-out loss": "held-out loss",
        "AUROC": "AUROC",
        "copies": "copies",
    }
    parts = []
    for of, all_of_it in grouped(found["results"]["rows"], "of"):
        for _, rows in grouped(all_of_it, "most"):
            before = {row["seed"]: row["log_q"] for row in rows if row["arm"] == "as it is"}
            arms = {arm: with_gain(those, before) for arm, those in grouped(rows, "arm")}
            codes = f"{max(row['codes'] for row in rows):,} codes"
            parts.append(table("D_z", arms, columns, caption=f"{of}, {codes}"))
    about = (
        "Log-density in nats of codes of held-out images that neither D_z nor its early stop has seen, and that are not "
        "changed; what it gains on the same codes without the measure, mean over seeds and its standard error; the same "
        "of the codes that D_z learned from; and how well membership by codes tells held-out codes from points between "
        "them. With `copies`, half of what D_z learns from are codes of changed copies of the images, and held-out codes "
        "choose the change; with the weight decay of D_z of 1 instead of 0.01 it is the default up to 5,000 images. The "
        "other rows change all copies alike. Rows of one seed say little."
    )
    return section("Few codes", about, parts, found)


def few_images() -> str:
    """How often networks see each of few photographs."""
    found = read("few_images")
    columns = {
        name: name for name in ("passes", "error of learned", "error of others", "core seconds")
    }
    parts = []
    for n, rows in grouped(found["results"]["rows"], "images"):
        arms = {
            f"{steps:,}": {key: mean(row[key] for row in those) for key in columns}
            for steps, those in grouped(rows, "steps")
        }
        parts.append(table("steps", arms, columns, f"{n} photographs"))
    about = (
        "Mean squared errors of photographs of 32 x 32 pixels (CIFAR-10) that the networks of `--quick` learned from, and of "
        "1,000 others, after trainings of several lengths, and how often these show each photograph; one seed. As the networks "
        "memorise the few, the error of others grows: by a tenth from 50 passes to 150, in which that of the few falls by a "
        "factor of five to six, and by half to 720. `--quick` and the other presets for a CPU take 150 passes at most (`train.passes`), "
        "also where images are larger or losses others, which was not measured."
    )
    return section("Few images", about, parts, found)


def estimators() -> str:
    """The estimator of scikit-learn beside others, on exact worlds."""
    found = read("estimators")
    columns = {
        "short": "KL",
        "short, mixture": "KL of a mixture",
        "AUROC": "AUROC",
        "AUROC, mixture": "of a mixture",
        "AUROC, forest": "of an isolation forest",
        "AUROC, exact": "of the exact density",
        "false alarms": "false alarms",
        "core seconds": "core seconds",
    }
    rows = {
        f"{world}, {size:,} samples": {
            key: mean(row[key] for row in those if row["samples"] == size) for key in columns
        }
        for world, those in grouped(found["results"]["rows"], "world")
        for size in sorted({row["samples"] for row in those})
    }
    about = (
        "`LatentDensity` beside scikit-learn's `GaussianMixture`, of which the BIC chooses 1 to 16 components, and "
        "`IsolationForest`; all learn from the same samples, of which ours holds a fifth out. The KL divergence from the "
        "exact density, in nats; how well outliers, uniform in the box that holds all samples, are told from other samples; "
        "and the share of these that ours calls outliers at a false-alarm rate of 5 %. Means over two seeds."
    )
    return section("Estimators", about, [table("world", rows, columns)], found)


def with_gain(rows: list[Row], before: dict[int, float]) -> Row:
    """Means over seeds, and the gain of log q over that of the same seeds before."""
    gains = [row["log_q"] - before[row["seed"]] for row in rows]
    found: Row = {"seeds": len(rows), "log q": mean(row["log_q"] for row in rows)}
    if any(gains):
        found["gain"] = mean(gains)
        if len(gains) > 1:
            found["gain, spread"] = stdev(gains) / len(gains) ** 0.5
    found |= {
        "log q, learned from": mean(row["log_q_seen"] for row in rows),
        "held-out loss": mean(row["held_out_loss"] for row in rows),
        "AUROC": mean(row["auroc"] for row in rows),
    }
    changes = sorted({row["change"] or "none" for row in rows if row["arm"].startswith("copies")})
    return found | ({"copies": "; ".join(changes)} if changes else {})


def worlds() -> str:
    """Ranks and scores where the density is known."""
    found, rows, tails = read("exact_worlds"), {}, {}
    for estimator, all_of_it in grouped(found["results"]["rows"], "estimator"):
        for d, those in grouped(all_of_it, "d"):
            heavy = [one for one in those if one["world"] == "tails"]
            for name in ("rank", "cosine of the score", "nats lost"):
                place = f"{name}, d = {d}"
                rows.setdefault(estimator, {})[place] = median(one[name] for one in those)
                tails.setdefault(estimator, {})[place] = median(one[name] for one in heavy)
    about = (
        "Medians over six worlds: rank correlation with the exact log-density, direction of the score, nats lost. The rows "
        "of D_z from d = 8 on are of an earlier training step, but for heavy tails."
    )
    below = "The same for heavy tails alone, a Student t of five degrees of freedom, where D_z begins at a scale mixture:"
    parts = [table("estimator", rows), below, table("estimator", tails)]
    return section("The density where it is known", about, parts, found)


def wide() -> str:
    """Maps of codes of hundreds of coordinates, beside exact densities."""
    found = read("wide_codes")
    rows = found["results"]["rows"]
    for row in rows.values():
        row["error, share"] = abs(row["error of log q"] / row["exact log q"])
    columns = {
        "exact log q": "exact log q",
        "error of log q": "error of the map's",
        "error, share": "as a share",
        "error of a Gaussian's": "of a Gaussian's",
        "cosine of the score": "cosine of the score",
        "leading coordinates": "leading coordinates",
        "core seconds": "core seconds",
        **{f"off-manifold, {name}": f"off-manifold: {name}" for name in ("linear", "slerp")},
        **{f"off-manifold, {name}": name for name in ("geodesic", "typical", "flow")},
    }
    about = (
        "Six clusters in eight coordinates of a turned space whose variances fall as 1 / i; log q in nats, means over 4,000 "
        "codes. Off-manifold is two-sided: frames less or more likely than the middle 95 % of real codes by the exact density."
    )
    return section("Wide codes", about, [table("world", rows, columns)], found)


def left_out() -> str:
    """Embeddings of a class that was left out, beside classical detectors and densities."""
    found = read("left_out_classes")
    rows, means = found["results"]["rows"], found["results"]["means"]
    methods = {kind: row["auroc"] for kind, row in rows.items()}
    densities = {
        kind: {
            **row["held-out log q"],
            "false alarms": row["false alarms"],
            "core seconds": row["core seconds"],
        }
        for kind, row in rows.items()
    }
    about = (
        "AUROC of images of a class that was left out, against the other classes, by 1,280 features of EfficientNet-Lite0 of "
        "Fashion-MNIST; 8,100 codes to learn from. Ours are of an earlier "
        "map and score, which compared with the codes held out and not with those learned from."
    )
    held_out = (
        "Held-out log-densities in nats, and the share of 2,700 real images that are called outliers at a rate of 5 %. The "
        "mixture of 10 is fitted in the same leading coordinates, and has the same rest."
    )
    return section(
        "Left-out classes",
        about,
        [
            table("class left out", {**methods, "mean": means}, named(methods)),
            held_out,
            table("class left out", densities),
        ],
        found,
    )


def decoders() -> str:
    """The decoder of frozen embeddings, beside what shows a code without one."""
    found = read("embedding_decoder")
    columns = {"mse": "squared error", "frechet": "Fréchet", "core seconds": "core seconds"}
    about = (
        "Images of features of EfficientNet-Lite0 that nothing was fitted to: 1,000 of Fashion-MNIST at 28 px, of 9,000 learned "
        "from, and some 180 icons at 32 px, of 1,650. The squared error is the mean over pixels in [0, 1]; Fréchet distances are "
        "to the originals, in such features at 112 px, which favours real images. G takes 1,500 steps at most."
    )
    parts = [table("shown by", rows, columns, name) for name, rows in found["results"].items()]
    return section("Decoded embeddings", about, parts, found)


def spatial() -> str:
    """Maps of spatial codes, beside a plain D_z, a Gaussian and a flow."""
    found = read("spatial_codes")
    rows = found["results"]
    plain = rows["flat, seed 0"]
    for row in rows.values():
        if "log q" in row:
            row["gain"] = (row["log q"] - plain["log q"]) / abs(plain["log q"])
    columns = {
        "log q": "log q",
        "log q, standard error": "its error",
        "gain": "over the plain D_z",
        "log q by gradients": "log q by gradients",
        "log q by gradients, standard error": "its error",
        "frechet": "Fréchet",
        "core seconds": "core seconds",
    }
    about = (
        "Codes of 4 x 7 x 7 of our own autoencoder on Fashion-MNIST; log q in nats, means over 10,000 samples of held-out codes. "
        "By gradients it is that of the diffusion with the scores of D_z, which is normalised. Samples of the maps are those of "
        "the noise levels alone; Fréchet distances are to decoded held-out codes in the features of a classifier."
    )
    return section("Spatial codes", about, [table("fitted", rows, columns)], found)


def ratios() -> str:
    """Log-ratios of many nats."""
    found, rows = read("density_ratio"), {}
    for one in found["results"]["rows"]:
        rows.setdefault(one["arm"], {})[f"{one['true nats']:g} nats, d = {one['d']}"] = one["nats"]
    about = "KL(q ‖ p) of correlated Gaussians as D_z estimates it, for each way of building D_z."
    return section("Log-ratios of many nats", about, [table("D_z", rows)], found)


def networks() -> str:
    """Reconstructions with D_x and without."""
    found = read("reconstruction-28px")
    rows = found["results"]["arms"]
    about = f"Equal networks, steps and data; {found['results']['judge']}."
    return section("Reconstruction", about, [table("model", rows)], found)


def variants() -> str:
    """One change to the networks or their training at a time."""
    found = read("model_variants")
    columns = {
        "seeds": "seeds",
        "mse": "squared error",
        "frechet of reconstructions": "Fréchet, reconstructions",
        "frechet of prior samples": "Fréchet, prior samples",
        "frechet of samples": "Fréchet, samples",
        "steps": "steps",
    }
    parts = []
    for row in found["results"]["rows"]:
        row["of"] = f"{row['source']}, {row['image size']} px, {row['budget']:g} core seconds"
    for of, rows in grouped(found["results"]["rows"], "of"):
        arms = {
            name: {"seeds": len(those)}
            | {
                key: mean(row[key] for row in those if key in row)
                for key in columns
                if any(key in row for row in those)
            }
            for name, those in grouped(rows, "variant")
        }
        parts.append(table("variant", arms, columns, of))
    about = (
        "Means over seeds, at equal computing time: each variant takes as many steps as fit, of 64 images unless its name says "
        "otherwise. `base` has width 16 at full resolution; `patch 2` takes patches of 2 x 2 pixels as places, at width 32. "
        "`weight` is that of D_x's loss (base: .0017): with more of it, or of matched features, images are sharper and follow "
        "their originals less. `+` is a change to `patch 2, narrow D_x, weight .0025`. `as --quick` adds batches of 16, matched "
        "features .03, a quarter of the weight of the KL term and patches of 4 x 4 pixels for E; `absolute differences` are "
        "the settings of `faces`, whose batches have 16 images, with batches of 8. Fréchet distances are to held-out images, of Fashion-MNIST in the features "
        "of a classifier, of the others in those of EfficientNet-Lite0. Samples are of a map fitted to the codes, of the "
        "seeds that have one.\n\n"
        "- Small batches take more steps in the same time: at 64 pixels `+ batch 16` lowers the distance of reconstructions by a "
        "quarter on glyphs and, beside the same networks, by 28 % on faces.\n"
        "- A quarter of the weight of the KL term lowers the error on Fashion-MNIST by 5 %, the distance of reconstructions by 13 % "
        "and that of samples by 12 %, here with one seed. Draws from the prior get worse, since codes keep more of the image; "
        "the map knows where the codes are.\n"
        "- Larger patches of E take 22 % more steps on Fashion-MNIST in the same time, and 39 % more on faces. Both together "
        "lower the error on Fashion-MNIST by 6 %, the distances by 25 % and 18 %.\n"
        "- Absolute differences keep flat colours flat: on faces they bring reconstructions to 0.54 of the distance of `base` and "
        "samples to 0.56, whether batches have 8 images or 16. On glyphs, thin black strokes on white, every image becomes white.\n"
        "- On colour photographs (CIFAR-10) the same settings bring reconstructions to 0.58 of the distance of `base` and samples to "
        "0.62; of `base` there is one seed. With 64 coordinates instead of the 32 of `--quick` the error is a third lower, "
        "reconstructions are 12 % nearer and samples 6 %; with 128 samples are farther again. Absolute differences blur.\n\n"
        "The rows of 40 seconds have one seed. At 200 seconds the distances of one variant differ by up to 18 % between seeds, "
        "and those of `base` on glyphs, after 175 steps, by more: its median is 243. Beside `+ batch 16`, at 40 seconds, matched features and a learned variance of pixels, which is a fifth of the "
        "KL weight here, lower the distance of reconstructions; early features of EfficientNet-Lite0 lose, since they leave time "
        "for two thirds of the steps; 32 coordinates with free bits lose in prior samples. Augmented images for D_x, a KL term "
        "controlled at 20 nats, attention at 7 x 7 places, bilinear enlargement and convolutions before the enlargement differ "
        "by less. Other programs ran beside the rows with `+`, and made a step cost up to 1.6 times as many core "
        "seconds: compare steps, too. On faces `no D_x` and `KL 5e-5` took fewer steps than `+ batch 16`, though theirs are no "
        "more work, so nothing is shown of them. One other training ran beside the last rows, which have most steps: "
        "`as --quick`, `absolute differences`, and glyphs with matched features of seeds 1 and 2."
    )
    return section("Better networks in the same time", about, parts, found)


def between() -> str:
    """What D_x is given as fakes, and what the decoder then shows between codes."""
    found = read("between")
    parts = []
    for name, one in found["results"].items():
        rows = {row: of_seeds(list(runs.values())) for row, runs in one["rows"].items() if runs}
        parts.append(table("fakes", rows, caption=f"{name}; {one['features']}"))
    about = (
        "Models that differ in the fakes of D_x, asked on held-out images about frames on turns round the mean and on lines "
        "between random pairs, beside reconstructions. The ghost AUROC and rate are those of a classifier that tells "
        "decoded codes from the middles of turns. No row halves them, or the Fréchet distance, at an error within 3 % of "
        "that of `none`; `benchmarks/between.py` says what the rows are. Compare rows with equally many seeds."
    )
    return section("Between codes", about, parts, found)


def of_seeds(runs: list[Row]) -> Row:
    """Means over the runs of several seeds, with how many there are."""
    means = {
        "error": [run["error"] for run in runs],
        "Fréchet, turn": [run["turn"]["frechet"] for run in runs],
        "Fréchet, line": [run["line"]["frechet"] for run in runs],
        "precision, turn": [run["turn"]["precision"] for run in runs],
        "recall, turn": [run["turn"]["recall"] for run in runs],
        "to originals, turn": [run["turn"]["to originals"] for run in runs],
        "ghost AUROC": [run["ghost AUROC"] for run in runs],
        "ghost rate": [run["ghost rate"] for run in runs],
    }
    return {"seeds": len(runs), **{name: mean(values) for name, values in means.items()}}


def peers() -> str:
    """Our models and pythae's: mean and deviation over seeds."""
    found = every("peers", "peers-32", "peers-small")
    parts = [table("model, sampler", beside_pythae(one["results"]["arms"]), PEERS) for one in found]
    about = (
        "Our models and those of pythae 0.1.2: same networks, data, epochs and evaluation model. Each sampler of a model has a "
        "row; Fréchet distance, precision and recall of samples are to held-out images, in features of a classifier. ± is the "
        "standard deviation over seeds. In the first table RAE is still to be measured; the last is of a short training of "
        "small networks in float32, after which the error of RAE is the least."
    )
    return section("Beside pythae", about, parts, *found)


PEERS = {
    "mse": "error",
    "frechet": "reconstructions: Fréchet",
    "samples frechet": "samples: Fréchet",
    "samples precision": "precision",
    "samples recall": "recall",
    "images per core second": "images per core second",
    "peak_mib": "MiB",
    "seeds": "seeds",
}


def beside_pythae(models: dict[str, dict[str, Row]]) -> dict[str, Row]:
    """A row for each model and sampler, of its runs by seed."""
    rows: dict[str, Row] = {}
    for model, runs in models.items():
        for sampler in next(iter(runs.values()))["samples"]:
            values = [
                run["reconstructions"]
                | {f"samples {name}": v for name, v in run["samples"][sampler].items()}
                | {"images per core second": run["images per core second"]}
                | {"peak_mib": run["costs"]["model"]["peak_mib"]}
                for run in runs.values()
            ]
            rows[f"{model}, {sampler}"] = with_spread(values) | {"seeds": len(values)}
    return rows


def with_spread(runs: list[Row]) -> Row:
    """The mean of each number, and its standard deviation where there are several runs."""
    row: Row = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        row[name] = mean(values)
        if len(values) > 1:
            row[f"{name}, spread"] = stdev(values)
    return row


def speed() -> str:
    """Paths per second."""
    found = read("travel_speed")
    parts = [table("planner", rows, caption=name) for name, rows in found["results"].items()]
    return section(
        "Speed", "Paths of 17 frames, planned in batches of 1, 32 and 500.", parts, found
    )


def read(name: str) -> dict[str, Any]:
    """A result with its command and machine."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def every(*names: str) -> list[dict[str, Any]]:
    """Those of the results that are there."""
    return [read(name) for name in names if (RESULTS / f"{name}.json").exists()]


def section(title: str, about: str, parts: list[str], *found: dict[str, Any]) -> str:
    """A heading, what was asked, the tables, and how they came to be."""
    return "\n\n".join([f"## {title}", about, *parts, *map(source, found)]) + "\n"


def source(found: dict[str, Any]) -> str:
    """The command, its settings and the machine."""
    settings = ", ".join(
        f"{name} {value}" for name, value in found["settings"].items() if value is not None
    )
    return f"`{found['command']}` on {found['machine']['device']}" + (
        f" ({settings})." if settings else "."
    )


def seen_by_features(title: str, found: list[dict[str, Any]], columns: dict[str, str]) -> list[str]:
    """A table for each run of each result, which says what its images were seen by."""
    return [
        table(title, answered(numbers["rows"]), columns, caption=f"{name}; {seen_by(numbers)}")
        for one in found
        for name, numbers in one["results"].items()
    ]


def seen_by(numbers: dict[str, Any]) -> str:
    """The features, how many runs there are, and how well the judge of ghosts tells them."""
    parts = [numbers["features"]]
    if numbers.get("runs", 1) > 1:
        parts.append(f"{numbers['runs']} runs")
    if "AUROC of ghosts" in numbers:
        told = (f"{kind} {value:.2f}" for kind, value in numbers["AUROC of ghosts"].items())
        parts.append(f"AUROC of real codes against points between them: {', '.join(told)}")
    return "; ".join(parts)


def table(
    title: str, rows: dict[str, Row], columns: dict[str, str] | None = None, caption: str = ""
) -> str:
    """A Markdown table; what a row lacks stays empty, and a column that all lack is left out.

    Arguments:
        title: Of the column of the rows' names.
        rows: By name.
        columns: Titles by key; None shows all keys.
        caption: What stands above it.
    """
    columns = columns or named(rows)
    present = {
        key: name for key, name in columns.items() if any(key in row for row in rows.values())
    }
    lines = [f"| {title} | {' | '.join(present.values())} |", "|---" * (1 + len(present)) + "|"]
    lines += [
        f"| {name} | {' | '.join(cell(row, key, columns) for key in present)} |"
        for name, row in rows.items()
    ]
    return "\n".join(([f"{caption}:", ""] if caption else []) + lines)


def cell(row: Row, key: str, columns: dict[str, str]) -> str:
    """A value, with its spread unless the table has columns of spreads."""
    value, spread = shown(row.get(key)), row.get(f"{key}, spread")
    apart = any(name.endswith(", spread") for name in columns)
    return value if apart or spread is None else f"{value} ± {spread:.2g}"


def shown(value: Any) -> str:
    """Three digits of a number, or four where it begins with 0.9: what matters there is how far from 1 it is."""
    if isinstance(value, float):
        return (
            f"{value:.4f}"
            if 0.9 <= value < 1
            else f"{value:.0f}"
            if abs(value) >= 1_000
            else f"{value:.3g}"
        )
    return "" if value is None else str(value)


def named(rows: dict[str, Row]) -> dict[str, str]:
    """All columns under their own names."""
    return {key: key for row in rows.values() for key in row}


def answered(rows: dict[str, Row]) -> dict[str, Row]:
    """The rows that are numbers: a sampler may have refused."""
    return {name: row for name, row in rows.items() if "refused" not in row}


def grouped(rows: Iterable[Row], key: str) -> list[tuple[Any, list[Row]]]:
    """Rows by what they have under a key, in the order of its first appearance."""
    order = list(dict.fromkeys(row[key] for row in rows))
    return [
        (value, list(those))
        for value, those in groupby(
            sorted(rows, key=lambda row: order.index(row[key])), lambda row: row[key]
        )
    ]


if __name__ == "__main__":
    main()
