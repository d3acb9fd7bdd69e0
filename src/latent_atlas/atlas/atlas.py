"""Atlas: a model and its map, the object users hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, Literal, NoReturn, TypeVar

import torch
from torch import Tensor

from latent_atlas.anomaly.conformal import FALSE_ALARM_RATE, AnomalyScorer, ConformalScorer
from latent_atlas.anomaly.result import AnomalyTable
from latent_atlas.atlas.collection import Collection
from latent_atlas.atlas.loading import AtlasParts
from latent_atlas.attributes.base import Attribute
from latent_atlas.attributes.registry import AttributeSet, Conditions, Known
from latent_atlas.codes.codec import Codec
from latent_atlas.codes.diffusers_vae import DiffusersVAE
from latent_atlas.codes.huggingface import PREFIX
from latent_atlas.codes.neighbours import NeighbourIndex, Neighbours, nearest_others
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder, Function
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.parse import with_values
from latent_atlas.config.run import Config
from latent_atlas.density.membership import FEWEST, Membership
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import generator_on, pick_device
from latent_atlas.display import html_grid, html_table, html_text, png_grid
from latent_atlas.errors import UserError, checked, printable
from latent_atlas.geometry.comparison import Comparison, compare
from latent_atlas.geometry.summary import Geometry
from latent_atlas.geometry.summary import measure as measure_geometry
from latent_atlas.sampling.base import Sampler, Samples
from latent_atlas.sampling.registry import draw, sampler_for
from latent_atlas.shapes import ArrayLike, Images, Latents, Values
from latent_atlas.travel.ascent import projected
from latent_atlas.travel.cut import cut as cut_at
from latent_atlas.travel.cut import with_membership
from latent_atlas.travel.interpolate import interpolate
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.planners.base import Planner, Resources
from latent_atlas.travel.planners.registry import planner_of
from latent_atlas.travel.random_walk import random_walk
from latent_atlas.travel.traversal import traverse

__all__ = ["Atlas"]

T = TypeVar("T")
NEAREST = 10  # others by which the rarity of an image is measured
SHOWN = 32  # images in a notebook
FEW = 20  # held-out codes below which the geometry is measured on those that were learned from


class Parts(dict[str, T]):
    """What an atlas has by part; a part that it has not is a user's mistake."""

    def __missing__(self, part: str) -> NoReturn:
        known = " or ".join(map(repr, self)) or "no parts, since its images have no labels"
        raise UserError(f"there is no part {part!r}; choose {known}")


class Atlas:
    """A model with the map of its latent space.

    Images and codes are taken as tensors, NumPy arrays, lists, DataFrames or PIL images, of any
    type and on any device.

    Attributes:
        model: E and G; G alone where it was learned for codes of another model; None where a run
            was made of codes alone.
        map: The density of the data's codes, q.
        codes: Real codes by part, "train" and "held_out".
        errors: Of the held-out images' reconstructions, shape (m, 3), by
            `codes.codec.reconstruction_errors`; or None.
        labels: Class numbers of the same images by part; empty where the collection has none.
        label_names: Names of the classes; may be empty.
        properties: Attributes of the codes by name, such as "class".
        config: Configuration of the run; of a wrapped autoencoder, only its map section is set.
        population: Number of codes by part that the run was made of, of which it may keep a sample.
        index_file: Where the index of a million training codes or more is kept; None keeps it in
            memory.
        collection: Thumbnails of the images that the codes are of; None where the run has none.
            Without a decoder, codes are shown by the real images nearest to them.
        known: What is known of the training images by name, as for `AttributeSet`.
        run: The run folder; None of a wrapped autoencoder.
    """

    def __init__(
        self,
        model: Autoencoder | None,
        map: LatentMap,
        codes: dict[str, Codes],
        config: Config,
        *,
        labels: dict[str, Tensor] | None = None,
        label_names: tuple[str, ...] = (),
        errors: Tensor | None = None,
        population: dict[str, int] | None = None,
        index_file: FilePath | None = None,
        collection: Collection | None = None,
        known: Mapping[str, Known] | None = MappingProxyType({}),
        run: FilePath | None = None,
    ) -> None:
        """Hold a model and a map; see `Atlas.load` and `Atlas.wrap`, which make them.

        Arguments: the attributes, by their names.
        """
        self.model = model
        self.map = map
        self.codes = Parts(codes)
        self.labels = Parts(labels or {})
        self.label_names = tuple(printable(name) for name in label_names)
        self.config = config
        self.errors = errors
        self.population = population or {part: len(some) for part, some in codes.items()}
        self.index_file = index_file
        self.collection = collection
        self.known = known
        self.run = run
        embed = None if collection is None else collection.embed
        self._coding = Codec(model, map.shape, map.device, embed)
        self.properties = AttributeSet(
            codes["train"].means,
            self.labels.get("train"),
            self.label_names,
            known=known,
            # Codes of another model say more of an image than what is decoded of them.
            decode=self._coding.differentiable if model and not collection else None,
        )
        self._anomaly = AnomalyScorer(
            map,
            self._coding,
            codes["train"].means,
            codes["held_out"],
            errors,
            self._membership_of,
        )

    @cached_property
    def indices(self) -> dict[str, NeighbourIndex]:
        """What searches the real codes of each part for neighbours."""
        files = {"train": self.index_file}
        return Parts({p: NeighbourIndex(c.means, files.get(p)) for p, c in self.codes.items()})

    @property
    def device(self) -> torch.device:
        """Where codes are; arguments are brought there."""
        return self.map.device

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(c, h, w) of an image of the model.

        Raises:
            UserError: there is no model.
        """
        return self._coding.model.image_shape

    @property
    def shown_shape(self) -> tuple[int, ...] | None:
        """(c, h, w) of what `decode` returns; None where codes cannot be shown."""
        if self.model is not None:
            return self.model.image_shape
        return None if self.collection is None else self.collection.image_shape

    @property
    def shown_by(self) -> str:
        """What the images of codes are: "decoded", "nearest real", or "" where there are none."""
        if self.model is not None:
            return "decoded"
        return "" if self.collection is None else "nearest real"

    @cached_property
    def membership(self) -> Membership | None:
        """Which codes look like held-out means; None for fewer than 40, or without log q.

        It asks what the decoder shows if there is an encoder, and not, say, an optimisation.
        """
        return self._membership_of(self.codes["held_out"].means)

    @classmethod
    @checked
    def load(cls, run: str | FilePath, *, device: str = "auto", nearest: bool = False) -> "Atlas":
        """Load a finished run; one that was made of codes alone has no model.

        Arguments:
            run: The folder; or "hf:OWNER/NAME" on the Hugging Face hub (extra `huggingface`),
                "hf:OWNER/NAME@REVISION" for a branch, a tag or a commit. It is downloaded once.
            device: As for `device.pick_device`.
            nearest: Whether to show codes of a collection by the nearest real images although a
                decoder was learned for them.

        Raises:
            UserError: the folder holds no run, or one that has not finished; or it cannot be had
                from the hub.
        """
        if isinstance(run, str) and run.startswith(PREFIX):
            from latent_atlas.atlas.hub import fetch

            run = fetch(run)
        return cls(**vars(AtlasParts.read(FilePath(run), pick_device(device), nearest=nearest)))

    @checked
    def save_pretrained(
        self, folder: str | FilePath, *, own_images: bool = False, licence: str | None = None
    ) -> None:
        """Write what may be published of the run to a folder, with a model card.

        These are the networks, the map, the codes and three pictures, as JSON, safetensors and PNG;
        no images, names of files or paths.

        Arguments:
            folder: A new or an empty folder, which `load` reads.
            own_images: Whether codes of a source that is not public may be published: decoded they
                look like its images.
            licence: Of the model, by its name on the hub, such as "cc-by-4.0"; None tells none.

        Raises:
            UserError: the folder holds something, the source is not public, the hub does not know
                the licence, or this atlas is not of a run folder.
        """
        from latent_atlas.atlas.hub import publish

        publish(self.run, FilePath(folder), own_images=own_images, licence=licence)

    @checked
    def push_to_hub(
        self,
        name: str,
        *,
        own_images: bool = False,
        public: bool = False,
        licence: str | None = None,
    ) -> str:
        """Publish the run on the Hugging Face hub (extra `huggingface`); returns the address.

        Arguments:
            name: "hf:OWNER/NAME"; the repository is made if it is not there.
            own_images, licence: As for `save_pretrained`.
            public: Whether all may see the repository.

        Raises:
            UserError: as for `save_pretrained`, the repository is public and that was not said, or
                the hub refuses or is not reached.
        """
        from latent_atlas.atlas.hub import push

        return push(self.run, name, own_images=own_images, public=public, licence=licence)

    @checked
    def export(
        self, folder: str | FilePath, format: Literal["onnx", "torch"] = "onnx"
    ) -> tuple[FilePath, ...]:
        """Write E, G and D_z for other programs, and return the files.

        | name | from | to |
        |---|---|---|
        | encode | images (n, c, h, w) in [0, 1] | latents (n, d), width (n,) |
        | decode | latents (n, d) | images (n, c, h, w) in [0, 1] |
        | slopes | latents (n, d), angle (1,) | logit, log_prob (n,); logit_slope, score (n, d) |
        | map | as slopes | logit, log_prob |

        The map is noised by tan(angle), so angle 0 is the map itself. A file takes 1 to 512 rows at
        a time. What the atlas lacks is left out: networks, log_prob without a density of the
        boundary, width of images that are one point.

        Arguments:
            folder: Made if it is not there; files in it are replaced.
            format: "onnx" (extra `onnx`), or "torch": `NAME.pt2` for `torch.export.load`, without
                `map`, whose outputs slopes has.

        Raises:
            UserError: onnx is not installed, or a network has an operation that the format lacks.
        """
        from latent_atlas.atlas.export import export

        return export(self, FilePath(folder), format)

    def diffusers_vae(self) -> DiffusersVAE:
        """E and G with the interface of `diffusers.AutoencoderKL`, for pipelines of diffusers.

        `config.scaling_factor` is one over the standard deviation of codes drawn from q(z).

        Raises:
            UserError: there is no model with an encoder, or diffusers is not installed.
        """
        variances = self.codes["train"].moments()[1].diagonal()
        scaling_factor = 1 / variances.mean().sqrt().item()
        return DiffusersVAE(self._coding.model, self.map.shape, scaling_factor)

    @classmethod
    @checked
    def wrap(
        cls,
        autoencoder: object | None = None,
        *,
        images: ArrayLike,
        encode: Function | None = None,
        decode: Function | None = None,
        pixel_range: tuple[float, float] = (0.0, 1.0),
        batch: int = 32,
        labels: ArrayLike | None = None,
        label_names: tuple[str, ...] = (),
        generator: torch.Generator,
        log: Callable[[dict[str, float]], None] | None = None,
        **settings: Any,
    ) -> "Atlas":
        """Fit a map to the codes of any autoencoder.

        Arguments:
            autoencoder: An object with `encode` and `decode`, such as diffusers.AutoencoderKL; or
                None, and both given as functions or modules. Modules stay on their device and are
                put into evaluation mode.
            images: Shape (n, c, h, w), in [0, 1], or bytes in 0..255; n of 30 or more.
            encode, decode, pixel_range, batch: As for `codes.wrapped_autoencoder.Autoencoder`;
                (-1, 1) is the pixel range of diffusers.
            labels: Class number of each image, an index into `label_names`, shape (n,).
            generator: Source of all randomness; its device is that of the map.
            log: Called with a record of the losses now and then.
            **settings: Of the map, by their names in `MapConfig`, such as boundary="gaussian" or
                steps=2000.

        Raises:
            UserError: these are not images, there is no autoencoder, or no map can be fitted to the
                codes.

        Warns:
            UserWarning: for each defect of the codes, repaired or not.
        """
        held = AtlasParts.gather(
            autoencoder,
            images,
            labels,
            label_names,
            with_values(MapConfig(), settings, called="the map"),
            encode=encode,
            decode=decode,
            pixel_range=pixel_range,
            batch=batch,
            generator=generator,
            log=log,
        )
        return cls(**vars(held))

    def encode(self, images: ArrayLike) -> Latents:
        """Means of q(z|x), shape (n, d).

        Arguments:
            images: Shape (n, c, h, w) or (c, h, w), in [0, 1] or bytes in 0..255. Of a collection
                they are embedded by its model: squares of its side, as for `Collection.embed`.

        Raises:
            UserError: the images have another shape than the model's, or there is no model.
        """
        return self._coding.encode(images)

    def decode(self, latents: ArrayLike) -> Images:
        """G(z), images (n, c, h, w) in [0, 1].

        Without a decoder, a code is shown by the thumbnail of the real image whose code is nearest.

        Arguments:
            latents: Codes (n, d) or (d,), or of the map's spatial shape.

        Raises:
            UserError: the codes have another dimension than the model's, or there are neither a
                model nor a collection.
        """
        if self.model is None and self.collection is not None:
            return self.collection.shown(self._coding.rows(latents)).to(self.device)
        return self._coding.decode(latents)

    @checked
    def pictures(self, real: ArrayLike) -> Images:
        """Images of real codes (n, d) or (n, ...): thumbnails of a collection, or else G(z).

        Raises:
            UserError: as for `decode`.
        """
        if self.collection is not None:
            return self.collection.shown(self._coding.rows(real)).to(self.device)
        return self.decode(real)

    @checked
    def travel(
        self,
        start: ArrayLike,
        end: ArrayLike | None = None,
        planner: str | Planner = "typical",
        *,
        frames: int = 17,
        closed: bool = False,
        preserve: Attribute | str | Sequence[Attribute | str] = (),
        within: float | Sequence[float] | None = None,
        pace: str = "latent",
        features: Function | None = None,
        cut: bool = False,
        images: bool = True,
        generator: torch.Generator | None = None,
    ) -> LatentPath:
        """Plan paths between images or codes, single or batched, and decode their frames.

        Without a decoder a frame is shown by the nearest real image, each at most once along a path
        while there are enough; where the class of the start is kept, by an image that has it.

        Arguments:
            start, end: Images (n, c, h, w) or (c, h, w) in [0, 1], or codes (n, d) or (d,). Without
                an end, `start` is the two or more waypoints of the paths, one after the other.
            planner: A planner such as `Geodesic(strength=3.0)`, or a name in `travel.PLANNERS`,
                completed by `Atlas.planner`.
            frames: Points of each path, both ends included; 2 or more.
            closed: Whether to return to the first waypoint.
            preserve: What of the start to keep, each an attribute or a name in `properties`.
            within: How far each may move, in its own unit, as for `travel.preserve`.
            pace: "latent", frames at equal distances in Z, or "perceived", at equal distances in
                features.
            features: Of images, (n, c, h, w) to (n, f), for the pace; None is their pixels.
            cut: Whether to jump where nothing lies between: frames unlike real codes become the
                nearest one of their path that is like them.
            images: Whether to decode the frames.
            generator: Of planners that draw; None always draws the same.

        Raises:
            UserError: as for `travel.plan`, `travel.through_waypoints` and `travel.preserve`,
                there is no model for a perceived pace, or no `membership` to cut by.
        """
        kept = self.properties.chosen(preserve)
        path = interpolate(
            self.map,
            self._coding.stops(start, end),
            self.planner(planner),
            frames=frames,
            closed=closed,
            keep=kept,
            within=within,
            features=self._coding.perceived(pace, features),
            generator=generator or torch.Generator(self.device).manual_seed(0),
        )
        path = with_membership(path, self.membership)
        if cut:
            if path.p_values is None:
                raise UserError(
                    f"cutting needs a map with a log-density and {FEWEST} held-out codes, to tell "
                    f"what is unlike them; there are {len(self.codes['held_out'])}"
                )
            real = path.p_values >= OFF_MANIFOLD_SHARE
            path = cut_at(path, self.map, real, generator=generator)
        return self._shown(path, kept) if images else path

    @checked
    def planner(self, planner: str | Planner) -> Planner:
        """A planner, completed with what it lacks and the atlas has.

        A geodesic's threshold is of held-out means, a graph is of the codes that the map was fitted
        to, a pullback is of the decoder, and `auto` chooses by `membership`.

        Raises:
            UserError: there is no planner of that name.
        """
        train, held_out = (self.codes[part].means for part in ("train", "held_out"))
        decode = None if self.model is None else self._coding.differentiable
        known = Resources(train, held_out, decode, lambda: self.membership)
        return planner_of(planner).completed(self.map, known)

    @checked
    def traverse(
        self,
        start: ArrayLike,
        attribute: Attribute | str | ArrayLike,
        *,
        by: float | ArrayLike | None = None,
        to: float | ArrayLike | None = None,
        keep: Attribute | str | Sequence[Attribute | str] = (),
        within: float | Sequence[float] | None = None,
        frames: int = 17,
        steps: int = 4,
        threshold: float | None = None,
    ) -> LatentPath:
        """Traverse an attribute from images or codes, and decode the frames.

        Arguments:
            start: As for `travel`.
            attribute: What to change, or its name in `properties`; or a direction (d,).
            keep: What to keep, each an attribute or a name.
            by, to, within, frames, steps, threshold: As for `travel.traverse`.
        """
        followed = self.properties[attribute] if isinstance(attribute, str) else attribute
        path = traverse(
            self.map,
            self._coding.codes(start),
            followed,
            by=by,
            to=to,
            keep=self.properties.chosen(keep),
            within=within,
            frames=frames,
            steps=steps,
            threshold=threshold,
        )
        return self._finished(path)

    @checked
    def random_walk(
        self,
        start: ArrayLike,
        *,
        frames: int = 17,
        stride: int = 10,
        width: float = 0.0,
        tuning: int = 200,
        threshold: float | None = None,
        generator: torch.Generator | None = None,
    ) -> LatentPath:
        """Walk at random among dense codes around images or codes, and decode the frames.

        Arguments:
            start: As for `travel`.
            frames, stride, width, tuning, threshold: As for `travel.random_walk`.
            generator: Source of all randomness; None is another one each time.
        """
        path = random_walk(
            self.map,
            self._coding.codes(start),
            frames=frames,
            stride=stride,
            width=width,
            tuning=tuning,
            threshold=threshold,
            generator=generator_on(self.device, generator),
        )
        return self._finished(path)

    @checked
    def project(self, places: ArrayLike, share: float = OFF_MANIFOLD_SHARE) -> LatentPath:
        """Project off-manifold images or codes to a density threshold, and decode both.

        Arguments:
            places: As `start` for `travel`.
            share: Of held-out real codes that lie below the threshold, in (0, 1): 0.5 makes a code
                typical.

        Returns:
            Paths of two frames, from the code to its projection, with the metric `moved`.
        """
        path = projected(self.map, self._coding.codes(places), self.map.threshold(share))
        return self._finished(path)

    @checked
    def sample(
        self,
        n: int,
        sampler: str | Sampler = "auto",
        *,
        temperature: float = 1.0,
        near: ArrayLike | None = None,
        width: float | None = None,
        where: Conditions | None = None,
        generator: torch.Generator | None = None,
    ) -> Images:
        """Draw `n` new images, shape (n, c, h, w) in [0, 1]; arguments as for `sample_codes`.

        Without a decoder they are the real images nearest to `n` new codes.

        Raises:
            UserError: there are neither a decoder nor a collection, or see `sample_codes`.
        """
        if self.shown_shape is None:
            _ = self.image_shape  # raises before the samples are drawn
        samples = self.sample_codes(
            n,
            sampler,
            temperature=temperature,
            near=near,
            width=width,
            where=where,
            images=True,
            generator=generator,
        )
        assert samples.images is not None
        return samples.images

    @checked
    def sample_codes(
        self,
        n: int,
        sampler: str | Sampler = "auto",
        *,
        temperature: float = 1.0,
        near: ArrayLike | None = None,
        width: float | None = None,
        where: Conditions | None = None,
        images: bool = False,
        generator: torch.Generator | None = None,
    ) -> Samples:
        """Draw `n` new codes from the map, with diagnostics.

        Arguments:
            n: Number of samples, 1 or more.
            sampler: A sampler or its name, as for `sampling.draw`. A sampler that uses real codes
                and has none is given one code of each training image: `Mixture` and `Flow` are
                fitted to them, `Diffusion` matches their statistics, and Markov chains start there
                if the map has no noise levels.
            temperature: T of q(z)^(1/T), above 0: below 1 samples concentrate at the modes.
            near: An image or a code to sample near.
            width: Standard deviation around `near`, above 0, in the units of the codes; None is
                half of the codes' standard deviation.
            where: Conditions by the names in `properties`: {"class": "Bag"}, or a range as in
                {"component:0": (1.0, 2.0)}.
            images: Whether to decode the codes, as `sample` does.
            generator: Source of all randomness; None is a new one with a random seed.

        Raises:
            UserError: a condition names no attribute, or see `sampling.draw`.

        Warns:
            UserWarning: for each of the samples' `warnings`.
        """
        generator, train = generator_on(self.device, generator), self.codes["train"]
        chosen = sampler_for(self.map, sampler, near=near is not None)
        if chosen.wants_codes(self.map):
            chosen = replace(chosen, codes=train.sample_each(generator=generator))
        if width is None:
            width = 0.5 * train.moments()[1].diagonal().mean().sqrt().item()
        samples = draw(
            self.map,
            n,
            chosen,
            temperature=temperature,
            near=None if near is None else self._coding.codes(near)[0],
            width=width,
            where=self.properties.log_weight(where) if where else None,
            generator=generator,
        )
        return replace(samples, images=self.decode(samples.points)) if images else samples

    @checked
    def geometry(
        self,
        *,
        features: Function | None = None,
        feature_name: str | None = None,
        samples: int = 256,
        generator: torch.Generator | None = None,
    ) -> Geometry:
        """Measure on held-out codes whether Z is dense, continuous and locally Euclidean.

        Arguments:
            features, feature_name, samples: As for `geometry.measure`.
            generator: Source of all randomness; None always draws the same.

        Raises:
            UserError: there is no model, or the map has no density.
        """
        codes = self.codes["held_out" if len(self.codes["held_out"]) >= FEW else "train"]
        return measure_geometry(
            self.map,
            self._coding.differentiable,
            codes.means,
            codes.log_variances,
            threshold=self.map.threshold(OFF_MANIFOLD_SHARE),
            features=features,
            feature_name=feature_name,
            samples=samples,
            generator=generator or torch.Generator(self.device).manual_seed(0),
        )

    @checked
    def anomaly(
        self,
        images: ArrayLike,
        *,
        false_alarm_rate: float = FALSE_ALARM_RATE,
        held_out: ArrayLike | None = None,
        names: tuple[str, ...] = (),
    ) -> AnomalyTable:
        """Anomaly scores of images: a table with a row for each, with p-values and the parts.

        Arguments:
            images: As for `encode`; or codes, of which only the density is measured.
            false_alarm_rate: Largest share of real images that are called outliers, in (0, 1).
            held_out: Real images that the model was not trained on, to calibrate with; None is
                those that the run held out.
            names: A name for each image; by default row:0, row:1, ...

        Raises:
            UserError: there is nothing to calibrate with, or these are no images of this model; see
                `ConformalScorer`.
        """
        return self._anomaly.anomaly(
            images, false_alarm_rate=false_alarm_rate, held_out=held_out, names=names
        )

    @property
    def unscored(self) -> str | None:
        """Why `anomaly` cannot score images by the run's own, in a sentence; None where it can."""
        return self._anomaly.unscored

    @property
    def scorer(self) -> ConformalScorer:
        """The calibrated scorer behind `anomaly`, for images; errors as for it."""
        return self._anomaly.by_images

    @checked
    def compare(
        self,
        images: ArrayLike,
        *,
        names: tuple[str, ...] = (),
        generator: torch.Generator | None = None,
    ) -> Comparison:
        """Compare a set of images with the run's real ones: coverage, and a test for drift.

        Arguments:
            images: As for `encode`, or codes; 6 or more.
            names: A name for each image; by default row:0, row:1, ...
            generator: Of the test's permutations; None always draws the same.

        Returns:
            The comparison with the images of `real_images`.

        Raises:
            UserError: there are too few images, or these are no images of this model.
        """
        real, real_names = self.real_images
        return compare(
            real,
            self._coding.codes(images),
            names=names,
            real_names=real_names,
            generator=generator or torch.Generator(self.device).manual_seed(0),
        )

    @property
    def real_images(self) -> tuple[Latents, tuple[str, ...]]:
        """Codes of images that the model was not trained on, shape (n, d), and their names.

        These are all images of a collection, and otherwise the held-out ones.
        """
        if self.collection is not None:
            kept = self.collection
            return kept.codes, tuple(kept.names[row] for row in kept.on_map.tolist())
        means = self.codes["held_out"].means
        return means, tuple(f"test:{i}" for i in range(len(means)))

    def rarity(self) -> Values:
        """How rare each of the `real_images` is, shape (n,): the least is the most typical.

        It is -log q in nats. The map of a collection was fitted to nearly all of its images and is
        likelier at them than at others, so of these it is the mean distance to the ten nearest
        others; likewise where the map has no log-density.

        Raises:
            UserError: there is one image alone.
        """
        codes = self.real_images[0]
        if self.collection is None and self.map.has_log_prob:
            return -self.map.log_prob(codes)
        return nearest_others(codes, NEAREST).distances.mean(dim=1)

    @checked
    def neighbours(self, images: ArrayLike, k: int = 8, *, part: str = "train") -> Neighbours:
        """The real images nearest to images, by Euclidean distances between codes.

        Arguments:
            images: Images (n, c, h, w) or (c, h, w) in [0, 1], or codes (n, d) or (d,).
            k: Number of neighbours, 1 or more; all real images if there are fewer.
            part: Real images to search: "train" or "held_out".

        Returns:
            Distances and row numbers in `codes[part]`, shape (n, k), the nearest first.

        Raises:
            UserError: k is less than 1, there is no such part, or these are no images of this
                model.
        """
        return self.indices[part].nearest(self._coding.codes(images), k)

    @checked
    def show(self, height: int = 800) -> Any:
        """Serve the explorer to this machine until the process ends; the extra is `serve`.

        As the last expression of a notebook's cell, it is shown below the cell.

        Arguments:
            height: Of the frame there, in pixels, 1 or more.

        Returns:
            The explorer, an `explorer.show.EmbeddedExplorer`, with its `url` and `close`.

        Raises:
            UserError: the extra is not installed.
        """
        from latent_atlas.explorer.show import EmbeddedExplorer

        return EmbeddedExplorer(self, height)

    def _repr_html_(self) -> str:
        """Images of some real codes, and facts."""
        shown = ""
        if self.shown_shape is not None:
            some = self.codes["held_out"].means[:SHOWN]
            shown = html_grid(self.pictures(some), f"{len(some)} held-out images, {self.shown_by}")
        facts = {
            "dimension": self.map.dimension,
            **{f"codes: {part}": count for part, count in self.population.items()},
            "classes": len(self.label_names),
            "boundary": self.map.boundary.name,
            "noise levels": self.map.calibration.levels,
        }
        return shown + html_table([facts]) + html_text(self.map.calibration.verdict())

    def _repr_png_(self) -> bytes | None:
        """The images, where a front end shows no HTML."""
        real = self.codes["held_out"].means[:SHOWN]
        return None if self.shown_shape is None else png_grid(self.pictures(real))

    def _membership_of(self, real: Latents | None) -> Membership | None:
        """The membership of means of real images (m, d), of the held-out ones by default."""
        if real is None:
            return self.membership
        if len(real) < FEWEST or not self.map.has_log_prob:
            return None
        generator = torch.Generator(self.device).manual_seed(0)
        real = real.to(self.device, torch.float32)
        return Membership.fit(self.map, real, cycle=self._coding.cycle, generator=generator)

    def _finished(self, path: LatentPath) -> LatentPath:
        """The path with the membership of its frames, and with its images."""
        return self._shown(with_membership(path, self.membership))

    def _shown(self, path: LatentPath, kept: Sequence[Attribute] = ()) -> LatentPath:
        """The path with images if there are any: of a class where that is kept."""
        if self.collection is not None:
            path = self.collection.shown_along(path, kept)
        if self.model is None:
            return path
        images = self.decode(path.points.flatten(0, 1)).unflatten(0, path.points.shape[:2])
        return replace(path, images=images)
