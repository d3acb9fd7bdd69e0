"""The design of a study: its grid of cells, their settings, and how much each cell measures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from latent_atlas.config.density_ratio import BOUNDARIES
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import UserError, require_known

__all__ = [
    "BUDGETS",
    "MODES",
    "STUDIED",
    "Z_REAL",
    "Cell",
    "Design",
    "Effort",
    "Grid",
    "with_budget",
]

MODES = ("separate", "online", "adversarial")
STUDIED = ("prior", "box", "radius", "low-density", "between", "mixture")
Z_REAL = ("samples", "means")

Kind = Literal["run", "map", "sizes", "pullback"]


@dataclass(frozen=True)
class Cell:
    """One unit of work, finished as a whole or not at all.

    Attributes:
        kind: run, a trained E, G and D_x with a fresh probe D_z; map, a D_z of the codes of such a
            run; sizes, a D_z and a D_x trained on `size` real images each; pullback, D_x used as an
            energy on Z.
        seed: The repetition.
        mode, boundary, z_real, size: Its place in the grid, as far as its kind has one.
    """

    kind: Kind
    seed: int
    mode: str = "separate"
    boundary: str = ""
    z_real: str = ""
    size: int = 0

    @property
    def name(self) -> str:
        """The name of its files."""
        parts = (
            self.kind,
            self.mode,
            self.boundary,
            self.z_real,
            str(self.size or ""),
            str(self.seed),
        )
        return "-".join(part for part in parts if part)

    @property
    def run(self) -> "Cell":
        """The run whose codes it uses; a run's own cell is itself."""
        return Cell("run", self.seed, self.mode)


@dataclass(frozen=True)
class Grid:
    """What is compared; a study can be extended with more of each later."""

    modes: tuple[str, ...] = MODES
    boundaries: tuple[str, ...] = STUDIED
    z_real: tuple[str, ...] = Z_REAL
    seeds: int = 3
    """Repetitions."""

    def __post_init__(self) -> None:
        """Reject unknown names and empty lists."""
        kinds = (
            ("mode", self.modes, MODES),
            ("boundary", self.boundaries, BOUNDARIES),
            ("z_real", self.z_real, Z_REAL),
        )
        for word, chosen, known in kinds:
            for name in chosen:
                require_known(word, name, known)
            if not chosen:
                raise UserError(
                    f"a study needs at least one {word}; choose from {', '.join(known)}"
                )
        if self.seeds < 1:
            raise UserError(
                f"the number of seeds is {self.seeds}; choose 1 or more, and 3 or more for any test"
            )


@dataclass(frozen=True)
class Effort:
    """How much each cell measures."""

    draws: int = 2_000
    """Images sampled for each Fréchet distance."""
    proposals: int = 50
    """Proposals of importance sampling per sample."""
    pairs: int = 24
    """Paths per planner."""
    codes: int = 4_000
    """Held-out codes that a map is evaluated on, at most four per image."""
    evaluation_share: float = 0.3
    """Share of the training codes set aside for the evaluation model of paths."""
    sizes: tuple[int, ...] = (50, 200, 800)
    """Numbers of real images to train discriminators on; all images are added."""
    image_steps: int = 300
    """Maximum number of steps of an image discriminator."""
    energy_draws: int = 500
    """Images sampled with D_x as the energy, which decodes every proposal."""
    energy_pairs: int = 6
    """Paths per planner with D_x as the energy."""

    def energy(self) -> "Effort":
        """The effort for D_x as an energy, and for D_z compared with it."""
        return replace(self, draws=self.energy_draws, proposals=50, pairs=self.energy_pairs)


@dataclass(frozen=True)
class Design:
    """A whole study; with its images, it determines the results.

    Attributes:
        config: Of every run except for mode and seed; its map section is that of every D_z except
            for boundary and z_real.
        effort: How much is measured.
        grid: What is compared.
        other: Name of another image set, whose images are outliers here.
        extractor: Feature extractor of the Fréchet distances, one of `features.EXTRACTORS`.
        digest: Fingerprint of the images.
        images: Number of training images.
    """

    config: Config
    effort: Effort = field(default_factory=Effort)
    grid: Grid = field(default_factory=Grid)
    other: str = "faces"
    extractor: str = "auto"
    digest: str = ""
    images: int = 0

    def cells(self) -> list[Cell]:
        """Every cell, in the order in which they should be run."""
        g, seeds = self.grid, range(self.grid.seeds)
        runs = [Cell("run", seed, mode) for seed in seeds for mode in g.modes]
        maps = [
            Cell("map", run.seed, run.mode, boundary, z_real)
            for run in runs
            for boundary in g.boundaries
            for z_real in g.z_real
        ]
        reference = [seed for seed in seeds if "separate" in g.modes]
        sizes = [Cell("sizes", seed, size=size) for seed in reference for size in self.sizes()]
        return [*runs, *maps, *sizes, *(Cell("pullback", seed) for seed in reference)]

    def sizes(self) -> tuple[int, ...]:
        """Numbers of training images in ascending order; the last is all of them."""
        return (*(size for size in self.effort.sizes if size < self.images), self.images)

    def run_config(self, cell: Cell, device: str) -> Config:
        """The configuration of a cell's run."""
        c = self.config
        train = replace(c.train, mode=cell.mode, seed=c.train.seed + cell.seed, device=device)
        return replace(c, train=train, map=replace(c.map, boundary="prior", z_real="samples"))

    def to_json(self) -> str:
        """The design as JSON, for `from_json`."""
        whole = asdict(self) | {"config": json.loads(self.config.to_json())}
        return json.dumps({"format": 1, **whole}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Design":
        """Read what `to_json` wrote.

        Raises:
            UserError: the text is damaged or of another version.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            if values.pop("format") != 1:
                raise UserError(
                    "this study was made by another version of latent-atlas; choose another --out"
                )
            values["config"] = Config.from_json(json.dumps(values["config"]))
            values["effort"] = Effort(**_tuples(values["effort"]))
            values["grid"] = Grid(**_tuples(values["grid"]))
            return cls(**values)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(
                f"study.json is damaged ({error}); restore it or choose another --out"
            ) from None

    def continues(self, before: "Design") -> bool:
        """Whether cells of an earlier design are cells of this one: all but the grid is equal."""
        return replace(self, grid=before.grid) == before


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


SMALL = (
    "data.limit=2000",
    "train.steps=400",
    "train.batch_size=64",
    "train.adversarial_start=100",
    "train.kl_warmup=100",
    "train.ema=0.99",
    "train.checkpoint_every=100",
    "train.log_every=20",
    "model.width=12",
    "model.discriminator_width=12",
    "map.width=64",
    "map.depth=2",
    "map.steps=300",
    "map.batch_size=256",
    "map.check_every=50",
    "map.patience=2",
)

BUDGETS: dict[str, tuple[Sequence[str], Effort]] = {
    "small": (SMALL, Effort(draws=1_000, proposals=100, pairs=16, codes=1_000)),
    "full": (
        (),
        Effort(
            draws=10_000,
            pairs=64,
            sizes=(100, 300, 1_000, 3_000, 10_000),
            image_steps=2_000,
            energy_draws=10_000,
            energy_pairs=64,
        ),
    ),
}
"""Settings on top of the source's preset, and effort: small for two cores, full for a GPU."""


def with_budget(preset: Config, budget: str) -> tuple[Config, Effort]:
    """A preset's configuration and effort under a budget.

    Raises:
        UserError: there is no such budget.
    """
    require_known("budget", budget, BUDGETS)
    settings, effort = BUDGETS[budget]
    return with_settings(preset, [*settings]), effort
