"""The open questions, each with its contests: what is compared with what, on which repetitions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from latent_atlas.study.comparison import Contest, Criterion, contest, number_at
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.hypotheses import (
    JOURNEYS,
    MAP_CRITERIA,
    Question,
    Results,
    extended,
    verdict,
)
from latent_atlas.study.latent_vs_image_question import spaces

__all__ = ["questions"]

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
OWN = Criterion("held-out log-density", ("log_prob",), "higher", "nats")
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


def questions(design: Design, results: Results) -> list[Question]:
    """The questions that these results have something to say about."""
    results = {cell: extended(numbers) for cell, numbers in results.items()}
    asked = (ask(design, results) for ask in (spaces, _boundaries, _arms, _codes))
    return [one for one in asked if one.measured]


def _boundaries(design: Design, results: Results) -> Question:
    """Where z_fake comes from."""
    g = design.grid
    contests = _by_runs(
        design, [*MAP_CRITERIA.values()], g.boundaries, results, lambda name: (name, g.z_real[0])
    )
    sentence, default = verdict("boundary", contests, g.boundaries)
    return Question(
        "boundaries",
        "Where should the boundary of z_fake be?",
        "Which fake codes make the most useful D_z?",
        "On the codes of every run (an arm with a seed) a D_z learns against each boundary, with real codes as "
        f"{g.z_real[0]} and else the same settings. A repetition is a run. Log-densities are normalised by the "
        "measured E_r[exp l], and mixed with 1 % of the prior so that a code outside a box costs a few nats and not "
        "infinitely many; a boundary without a log-density of real codes has none, and ranks by its logit.",
        "D_z is telescoped over levels where the boundary allows it, as the prior does, and has a single level "
        "against the others: a part of what is seen is due to that. In more dimensions the box and the prior move "
        "away from the population and single classifiers saturate; codes far from N(0, I) favour boundaries fitted "
        "to them.",
        {"boundaries": contests},
        (sentence, *(one.sentence() for one in contests)),
        default,
    )


def _codes(design: Design, results: Results) -> Question:
    """Samples or means."""
    g = design.grid
    contests = _by_runs(
        design, MEANS_CRITERIA, g.z_real, results, lambda name: (g.boundaries[0], name)
    )
    sentence, default = verdict("z_real", contests, g.z_real)
    return Question(
        "z_real",
        "Real codes: samples or means?",
        "Should D_z learn from fresh samples of q(z|x) or from the fixed means?",
        f"On the codes of every run a D_z learns against boundary {g.boundaries[0]} from samples drawn afresh at each "
        "step, and another one from the means alone. Both are judged on held-out samples and on held-out means.",
        "Where the encoder's noise is wide beside the population, samples and means are different populations; with "
        "many more images than weights, means overfit less.",
        {"real codes": contests},
        (sentence, *(one.sentence() for one in contests)),
        default,
    )


def _by_runs(
    design: Design,
    criteria: Sequence[Criterion],
    names: Sequence[str],
    results: Results,
    place: Callable[[str], tuple[str, str]],
) -> list[Contest]:
    """Contests of maps on the same runs; `place` gives the boundary and z_real that a contestant's name stands for."""
    runs = [(arm, seed) for seed in range(design.grid.seeds) for arm in design.grid.arms]
    contests = []
    for c in criteria:
        scores = {
            name: {
                run: number_at(results.get(Cell("map", run[1], run[0], *place(name))), c.path)
                for run in runs
            }
            for name in names
        }
        contests.append(contest(c, scores))
    return contests


def _arms(design: Design, results: Results) -> Question:
    """Jointly or apart."""
    arms, seeds, t = design.grid.arms, range(design.grid.seeds), design.config.train

    def numbers(arm: str, seed: int) -> Mapping[str, Any]:
        return {
            **results.get(Cell("run", seed, arm), {}),
            "map": results.get(Cell("map", seed, arm, "prior", "samples")),
        }

    def score(arm: str, *path: str) -> dict[int, float | None]:
        return {seed: number_at(numbers(arm, seed), path) for seed in seeds}

    contests = {
        "arms": [contest(c, {arm: score(arm, *c.path) for arm in arms}) for c in ARM_CRITERIA]
    }
    for arm in arms:
        if arm != "separate":
            rivals = {
                "fresh probe": score(arm, "probe", *OWN.path),
                "joint D_z": score(arm, "own", *OWN.path),
            }
            contests[f"the joint D_z of arm {arm} beside the fresh probe"] = [contest(OWN, rivals)]
    sentence, default = verdict("arm", contests["arms"], arms)
    said = [one.sentence() for one in contests["arms"]]
    said += [
        f"{group}, {one.sentence()}"
        for group, members in [*contests.items()][1:]
        for one in members
    ]
    return Question(
        "arms",
        "Jointly or apart?",
        "Should E, G and D_z learn together, or D_z afterwards?",
        "Three arms with the same images, steps and seeds: separate (D_z afterwards), online (D_z beside E and G, on "
        "detached codes) and adversarial (E also learns to fool D_z). All are judged by the same fresh probe D_z, "
        "learned afterwards against the prior. Log-densities are compared within an arm only, since every arm has a "
        "space of its own.",
        f"The weight of fooling is {t.fool_weight:g} here and that of the KL {t.kl_weight:g}; a stronger pull "
        "flattens the map more. The joint D_z has a single level and no early stopping.",
        contests,
        (sentence, *said),
        default,
    )
