"""One training step: each network is updated from its own loss alone."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.boundary.gaussian import PriorBoundary
from latent_atlas.codes.posterior import kl_standard_normal
from latent_atlas.config.run import Config
from latent_atlas.config.training import TrainConfig
from latent_atlas.density_ratio.losses import latent_discriminator
from latent_atlas.device import Engine
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.nn.weight_average import average_of, update_average
from latent_atlas.shapes import Images, Latents, Values
from latent_atlas.training import losses
from latent_atlas.training.processes import ALONE, Processes
from latent_atlas.training.resume import optimizer_tensors, restore_optimizer

__all__ = ["Batch", "Forward", "TrainStep", "learning_rate_factor"]

# Above it Adam itself would overflow; with this rate the next loss does, and its name and step are
# told.
MOST_RATE = 1e30
# G is kept near an isometry on lines through two codes, and past either of them by this share of
# their distance (Lee et al. 2022).
BEYOND = 0.2


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """1 for the first part of the run, then half a cosine down to 0 over its last `decay`."""
    start = (1 - config.decay) * config.steps
    if step <= start:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - start) / (config.steps - start)))


@dataclass(frozen=True)
class Batch:
    """What one step is computed from.

    Attributes:
        images: Those of this process, shape (n, c, h, w), in [0, 1].
        step: The number of the step, from 1.
        generator: Source of all of the step's random numbers, the same in all processes: they draw
            for the whole batch, and take their share.
        codes: Given means of q(z|x), shape (n, d); None where E encodes the images.
    """

    images: Images
    step: int
    generator: torch.Generator
    codes: Latents | None = None


@dataclass(frozen=True)
class Forward:
    """What the networks make of a batch: every loss of a step is computed from it, in float32.

    Attributes:
        means, log_variances: Of q(z|x), shape (n, d).
        z: A draw from q(z|x), shape (n, d).
        decoded: G(z), shape (n, c, h, w).
        fake: What D_x has to tell from the images: decoded draws from the prior, then
            reconstructions, each at the place of its original; shape (n, c, h, w).
        prior: How many of the fakes come from the prior.
        real_maps, fake_maps: Feature maps of D_x, if they are to be matched.
        real_logits, fake_logits: D_x of the images and of the fakes, shape (n,); None before D_x
            trains.
    """

    means: Latents
    log_variances: Latents
    z: Latents
    decoded: Images
    fake: Images
    prior: int
    real_maps: list[Tensor]
    fake_maps: list[Tensor]
    real_logits: Values | None
    fake_logits: Values | None


class TrainStep:
    """The networks with their optimisers, and one step of all.

    With precision bf16, E, G and D_x multiply in bfloat16, which has 8 significant bits. Kept in
    float32 are: weights, moments and averages, since small updates would be rounded away; exp of
    the log-variances, pixels and losses, since they are small differences; the sum of a penalty,
    of thousands of small squares; and D_z, whose values are densities in nats and whose gradient
    is the score.

    Several processes compute what one would: the gradients are averaged over them, and so are the
    parts of those losses that are no means over images.

    Attributes:
        engine: Where and how precisely the networks compute.
        processes: Those that share each batch.
        model: E, G, D_x and D_z.
        average: E and G with averaged weights, the ones used after training.
        weights: The weights that each optimiser moves, by its name.
        balance: Running average of `losses.balanced_weight`.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        processes: Processes = ALONE,
        *,
        frozen: bool = False,
    ) -> None:
        """Arguments: the whole configuration; where to compute; the processes that take part; and
        whether batches bring codes.
        """
        self.config = t = config.train
        self.engine = engine
        self.processes = processes
        self.model = m = VAEGAN(config.model, config.map, seed=t.seed, frozen=frozen)
        for network in (m.encoder, m.decoder, m.image_discriminator, m.latent_discriminator):
            engine.prepare(network)
        self.average = average_of(nn.ModuleDict({"encoder": m.encoder, "decoder": m.decoder}))
        self.weights = {
            "image_discriminator": [*m.image_discriminator.parameters()],
            "latent_discriminator": [*m.latent_discriminator.parameters()],
            "autoencoder": [*m.encoder.parameters(), *m.decoder.parameters()],
        }
        self.rates = dict.fromkeys(self.weights, t.discriminator_learning_rate)
        self.rates["autoencoder"] = t.learning_rate
        # D_x has less momentum, since the images it has to reject change with every step of G
        # (Radford et al. 2016).
        momentum = {"image_discriminator": 0.5, "latent_discriminator": 0.9, "autoencoder": 0.9}
        self.optimizers = {
            name: torch.optim.Adam(
                self.weights[name], lr=rate, betas=(momentum[name], 0.99), fused=True
            )
            for name, rate in self.rates.items()
        }
        self.z_real = config.map.z_real
        # In the joint modes r is the prior: the other boundaries are fitted to finished codes.
        self.boundary = PriorBoundary(config.model.latent_dim)
        self.balance = torch.ones((), device=engine.device)

    @property
    def done(self) -> bool:
        """Whether to stop before the last step."""
        return False

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update every network once, each from its own loss, and return the losses by name.

        All gradients are taken at the same weights, so that one forward pass serves them all.
        """
        made = self.forward(batch)
        found: dict[str, tuple[Tensor, dict[str, Tensor]]] = {}
        if made.real_logits is not None:
            found["image_discriminator"] = self.image_discriminator_loss(batch, made)
        if self.config.mode != "separate":
            found["latent_discriminator"] = self.latent_discriminator_loss(batch, made)
        found["autoencoder"] = self.autoencoder_loss(batch, made)
        for name, (loss, _) in found.items():
            self.differentiate(name, loss, last=name == "autoencoder")
        self.processes.average_gradients(w for name in found for w in self.weights[name])
        factor = learning_rate_factor(batch.step, self.config)
        for name in found:
            self.update(name, min(self.rates[name] * factor, MOST_RATE))
        self.average_weights(batch.step)
        return {
            term: value.detach() for _, terms in found.values() for term, value in terms.items()
        }

    def differentiate(self, name: str, loss: Tensor, *, last: bool = False) -> None:
        """Take the gradient of a loss for the weights of its own networks and no others."""
        loss.backward(inputs=self.weights[name], retain_graph=not last)

    def update(self, name: str, rate: float) -> None:
        """Take one step of one optimiser along the gradient."""
        optimizer = self.optimizers[name]
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def forward(self, batch: Batch) -> Forward:
        """Encode, decode and judge a batch, with a graph."""
        t, m, x = self.config, self.model, batch.images
        seen = x if batch.codes is None else batch.codes
        real_maps, fake_maps, real_logits, fake_logits = [], [], None, None
        with self.engine.autocast():
            means, log_variances = (part.float() for part in m.encoder(seen))
            # As `codes.posterior.reparameterise`, with the noise of the whole batch.
            z = means + self.noise(batch) * (0.5 * log_variances).exp()
            prior = self.prior_codes(batch)
            images = m.decoder(torch.cat([z, prior])).float()
            decoded, fake = images[: len(x)], images
            if len(prior):
                fake = torch.cat([images[len(x) :], decoded[len(prior) :]])
            if t.adversarial != "none" and batch.step > t.discriminator_start:
                real_logits, real_maps = self.judge(x)
                fake_logits, fake_maps = self.judge(fake)
        return Forward(
            means,
            log_variances,
            z,
            decoded,
            fake,
            len(prior),
            real_maps,
            fake_maps,
            real_logits,
            fake_logits,
        )

    def judge(self, images: Images) -> tuple[Values, list[Tensor]]:
        """D_x's logits in float32, and its feature maps if they are to be matched."""
        network = self.model.image_discriminator
        if self.config.feature_matching == 0:
            return network(images).float(), []
        maps = network.features(images)
        return network.logits(maps).float(), maps

    def image_discriminator_loss(
        self, batch: Batch, made: Forward
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of D_x and its terms: real images against reconstructions and decoded draws."""
        t = self.config
        assert t.adversarial != "none"
        assert made.real_logits is not None
        assert made.fake_logits is not None
        loss = losses.image_discriminator(made.real_logits, made.fake_logits, t.adversarial)
        terms = {"image_discriminator": loss}
        penalised = (
            (("r1", t.r1, batch.images), ("r2", t.r2, made.fake.detach()))
            if batch.step % t.penalty_every == 0
            else ()
        )
        for name, weight, images in penalised:
            if weight > 0:
                with self.engine.autocast():
                    terms[name] = losses.gradient_penalty(self.model.image_discriminator, images)
                loss = loss + t.penalty_every * weight * terms[name]
        return loss, terms

    def latent_discriminator_loss(
        self, batch: Batch, made: Forward
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of D_z in the joint modes and its terms: detached codes against the boundary's."""
        z_real = (made.z if self.z_real == "samples" else made.means).detach()
        whole = self.boundary.sample(self.whole(batch), generator=batch.generator)
        z_fake = self.processes.share(whole)
        real, fake = self.model.latent_discriminator(torch.cat([z_real, z_fake])).chunk(2)
        loss = latent_discriminator(real, fake)
        return loss, {"latent_discriminator": loss}

    def autoencoder_loss(self, batch: Batch, made: Forward) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of E and G and its terms: reconstruction, KL, and those from D_x and D_z."""
        t, m = self.config, self.model
        terms = {
            "reconstruction": losses.reconstruction(made.decoded, batch.images, t.reconstruction),
            "kl": kl_standard_normal(made.means, made.log_variances).mean(),
        }
        warmth = min(1.0, batch.step / max(1, t.kl_warmup))
        loss = terms["reconstruction"] + warmth * t.kl_weight * terms["kl"]
        if t.adversarial != "none" and batch.step > t.adversarial_start:
            added, added_terms = self.image_generator_loss(batch, made, terms["reconstruction"])
            loss, terms = loss + added, terms | added_terms
        if t.mode == "adversarial":
            terms["latent_fooling"] = losses.latent_fooling(m.latent_discriminator(made.z))
            loss = loss + t.fool_weight * terms["latent_fooling"]
        if t.isometry > 0 and batch.step % t.penalty_every == 0:
            terms["isometry"] = self.isometry_loss(made.z, batch)
            # It is free of the scale of J, so it would dominate while G hardly depends on z: its
            # weight grows with that of the KL.
            loss = loss + warmth * t.penalty_every * t.isometry * terms["isometry"]
        return loss, terms

    def image_generator_loss(
        self, batch: Batch, made: Forward, reconstruction: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of G against D_x, weighted, and its terms, unweighted."""
        t = self.config
        assert t.adversarial != "none"
        assert made.real_logits is not None
        assert made.fake_logits is not None
        adversarial = losses.image_generator(made.real_logits, made.fake_logits, t.adversarial)
        terms = {"image_generator": adversarial}
        weight = torch.tensor(t.adversarial_weight, device=adversarial.device)
        if t.balance:
            last = self.model.decoder.last.weight
            mean = self.processes.mean
            ratio = losses.balanced_weight(reconstruction, adversarial, last, mean=mean)
            self.balance.lerp_(ratio, 0.01 if batch.step > t.adversarial_start + 1 else 1.0)
            weight = weight * self.balance
        loss = weight * adversarial
        if t.feature_matching > 0 and self.prior_count(batch) < self.whole(batch):
            terms["feature_matching"] = self.feature_matching_loss(batch, made)
            loss = loss + t.feature_matching * terms["feature_matching"]
        return loss, terms

    def feature_matching_loss(self, batch: Batch, made: Forward) -> Tensor:
        """`losses.feature_matching` of the reconstructions among the fakes and their originals.

        A process counts by its share of them, since prior codes may be spread unequally.
        """
        count = len(batch.images) - made.prior
        if count == 0:
            return torch.zeros((), device=made.fake.device)
        pairs = zip(made.fake_maps, made.real_maps, strict=True)
        fakes, reals = zip(*((f[made.prior :], r[made.prior :]) for f, r in pairs), strict=True)
        everywhere = self.whole(batch) - self.prior_count(batch)
        weight = count * self.processes.world_size / everywhere
        return weight * losses.feature_matching(fakes, reals)

    def isometry_loss(self, z: Latents, batch: Batch) -> Tensor:
        """`losses.isometry` of G at codes on lines through random pairs of `z`. Updates G alone."""
        z, generator, whole = z.detach(), batch.generator, self.whole(batch)
        share, mean = self.processes.share, self.processes.mean
        order = share(torch.randperm(whole, generator=generator, device=z.device))
        others = self.processes.gather(z)[order]
        part = share(torch.rand(whole, 1, generator=generator, device=z.device))
        places = z.lerp(others, (1 + 2 * BEYOND) * part - BEYOND)
        directions = F.normalize(self.noise(batch))
        return losses.isometry(self.model.decoder, places, directions, mean=mean)

    def prior_codes(self, batch: Batch) -> Latents:
        """z ~ p(z), shape (k, d), for the share `prior_share` of the fake images in a batch."""
        return self.processes.share(self.normal(self.prior_count(batch), batch))

    def prior_count(self, batch: Batch) -> int:
        """How many of the fakes of all processes are decoded from the prior."""
        return round(self.config.prior_share * self.whole(batch))

    def noise(self, batch: Batch) -> Latents:
        """Standard normal noise for each image, shape (n, d)."""
        return self.processes.share(self.normal(self.whole(batch), batch))

    def normal(self, count: int, batch: Batch) -> Latents:
        """Draws from N(0, I) for all processes, shape (count, d)."""
        shape = (count, self.model.dimension)
        return torch.randn(shape, generator=batch.generator, device=self.engine.device)

    def whole(self, batch: Batch) -> int:
        """How many images the batch of all processes has."""
        return self.processes.world_size * len(batch.images)

    def average_weights(self, step: int) -> None:
        """Move the averages of E and G towards their weights."""
        for name, average in self.average.items():
            update_average(average, getattr(self.model, name), step, self.config.ema)

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on besides the configuration and the images, by name."""
        parts = {"model": self.model.state_dict(), "average": self.average.state_dict()}
        parts |= {f"optimizer.{name}": optimizer_tensors(o) for name, o in self.optimizers.items()}
        named = {
            f"{part}/{name}": value
            for part, values in parts.items()
            for name, value in values.items()
        }
        return named | {"balance": self.balance}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Load what `tensors` returned."""
        parts: dict[str, dict[str, Tensor]] = {}
        for place, value in tensors.items():
            part, _, name = place.partition("/")
            parts.setdefault(part, {})[name] = value
        self.model.load_state_dict(parts["model"])
        self.average.load_state_dict(parts["average"])
        for name, optimizer in self.optimizers.items():
            restore_optimizer(optimizer, parts.get(f"optimizer.{name}", {}))
        self.balance.copy_(tensors["balance"])

    def finished(self) -> VAEGAN:
        """The model with the averaged E and G, in evaluation mode."""
        for name, average in self.average.items():
            getattr(self.model, name).load_state_dict(average.state_dict())
        return self.model.eval()
