"""One training step: each network is updated from its own loss alone."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.boundary.gaussian import PriorBoundary
from latent_atlas.codes.posterior import kl_standard_normal, reparameterise
from latent_atlas.config.run import Config
from latent_atlas.config.training import TrainConfig
from latent_atlas.density_ratio.losses import latent_discriminator
from latent_atlas.device import Engine
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.nn.weight_average import average_of, update_average
from latent_atlas.shapes import Images, Latents
from latent_atlas.training import losses
from latent_atlas.training.resume import optimizer_tensors, restore_optimizer

__all__ = ["Batch", "TrainStep", "frozen", "learning_rate_factor"]

# G is kept near an isometry on lines through two codes, and past either of them by this share of
# their distance (Lee et al. 2022).
# Above it Adam itself would overflow; with this rate the next loss does, and its name and step are
# told.
MOST_RATE = 1e30
BEYOND = 0.2


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without reaching its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


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
        images: Shape (n, c, h, w), in [0, 1].
        step: The number of the step, from 1.
        generator: Source of all of the step's random numbers.
    """

    images: Images
    step: int
    generator: torch.Generator


class TrainStep:
    """The networks with their optimisers, and the three updates of a step.

    Attributes:
        engine: Where and how precisely the networks compute.
        model: E, G, D_x and D_z.
        average: E and G with averaged weights, the ones used after training.
        balance: Running average of `losses.balanced_weight`.
    """

    def __init__(self, config: Config, engine: Engine) -> None:
        """Arguments: the whole configuration, and where to compute."""
        self.config = t = config.train
        self.engine = engine
        self.model = m = VAEGAN(config.model, config.map, seed=t.seed)
        self.average = average_of(nn.ModuleDict({"encoder": m.encoder, "decoder": m.decoder}))
        self.average.to(engine.device)
        for network in (m.encoder, m.decoder, m.image_discriminator, m.latent_discriminator):
            engine.prepare(network)
        weights = {
            "autoencoder": [*m.encoder.parameters(), *m.decoder.parameters()],
            "image_discriminator": [*m.image_discriminator.parameters()],
            "latent_discriminator": [*m.latent_discriminator.parameters()],
        }
        self.rates = dict.fromkeys(weights, t.discriminator_learning_rate)
        self.rates["autoencoder"] = t.learning_rate
        # D_x has less momentum, since the images it has to reject change with every step of G
        # (Radford et al. 2016).
        momentum = {"autoencoder": 0.9, "image_discriminator": 0.5, "latent_discriminator": 0.9}
        self.optimizers = {
            name: torch.optim.Adam(weights[name], lr=rate, betas=(momentum[name], 0.99))
            for name, rate in self.rates.items()
        }
        self.z_real = config.map.z_real
        # In the joint modes r is the prior: the other boundaries are fitted to finished codes.
        self.boundary = PriorBoundary(config.model.latent_dim)
        self.balance = torch.ones((), device=engine.device)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update every network once, each from its own loss, and return the losses by name."""
        factor = learning_rate_factor(batch.step, self.config)
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = min(self.rates[name] * factor, MOST_RATE)
        record: dict[str, Tensor] = {}
        if self.config.adversarial != "none" and batch.step > self.config.discriminator_start:
            record |= self.update("image_discriminator", *self.image_discriminator_loss(batch))
        if self.config.mode != "separate":
            record |= self.update("latent_discriminator", *self.latent_discriminator_loss(batch))
        record |= self.update("autoencoder", *self.autoencoder_loss(batch))
        self.average_weights(batch.step)
        return record

    def update(self, name: str, loss: Tensor, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step of one optimiser along the gradient of `loss`; return detached terms."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # or these gradients would leak into the next loss
        return {term: value.detach() for term, value in terms.items()}

    def image_discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of D_x and its terms: real images against reconstructions and decoded draws."""
        t, m = self.config, self.model
        prior = self.prior_codes(batch)
        with torch.no_grad(), self.engine.autocast():
            means, log_variances = m.encoder(batch.images[len(prior) :])
            z = reparameterise(means, log_variances, generator=batch.generator)
            fake = m.decoder(torch.cat([prior, z])).float()
        with self.engine.autocast():
            real_logits = m.image_discriminator(batch.images)
            fake_logits = m.image_discriminator(fake)
        assert t.adversarial != "none"
        loss = losses.image_discriminator(real_logits.float(), fake_logits.float(), t.adversarial)
        terms = {"image_discriminator": loss}
        penalised = (
            (("r1", t.r1, batch.images), ("r2", t.r2, fake))
            if batch.step % t.penalty_every == 0
            else ()
        )
        for name, weight, images in penalised:
            if weight > 0:
                terms[name] = losses.gradient_penalty(m.image_discriminator, images)
                loss = loss + t.penalty_every * weight * terms[name]
        return loss, terms

    def latent_discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of D_z in the joint modes and its terms: detached codes against the boundary's."""
        with torch.no_grad(), self.engine.autocast():
            means, log_variances = self.model.encoder(batch.images)
        z_real = means.float()
        if self.z_real == "samples":
            z_real = reparameterise(z_real, log_variances.float(), generator=batch.generator)
        z_fake = self.boundary.sample(len(z_real), generator=batch.generator)
        real, fake = self.model.latent_discriminator(torch.cat([z_real, z_fake])).chunk(2)
        loss = latent_discriminator(real, fake)
        return loss, {"latent_discriminator": loss}

    def autoencoder_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of E and G and its terms: reconstruction, KL, and those from D_x and D_z."""
        t, m = self.config, self.model
        with self.engine.autocast():
            means, log_variances = m.encoder(batch.images)
            means, log_variances = means.float(), log_variances.float()
            z = reparameterise(means, log_variances, generator=batch.generator)
            decoded = m.decoder(z).float()
        terms = {
            "reconstruction": losses.reconstruction(decoded, batch.images, t.reconstruction),
            "kl": kl_standard_normal(means, log_variances).mean(),
        }
        warmth = min(1.0, batch.step / max(1, t.kl_warmup))
        loss = terms["reconstruction"] + warmth * t.kl_weight * terms["kl"]
        if t.adversarial != "none" and batch.step > t.adversarial_start:
            with frozen(m.image_discriminator):
                added, added_terms = self.image_generator_loss(
                    decoded, terms["reconstruction"], batch
                )
            loss, terms = loss + added, terms | added_terms
        if t.mode == "adversarial":
            with frozen(m.latent_discriminator):
                terms["latent_fooling"] = losses.latent_fooling(m.latent_discriminator(z))
            loss = loss + t.fool_weight * terms["latent_fooling"]
        if t.isometry > 0 and batch.step % t.penalty_every == 0:
            terms["isometry"] = self.isometry_loss(z, batch)
            # It is free of the scale of J, so it would dominate while G hardly depends on z: its
            # weight grows with that of the KL.
            loss = loss + warmth * t.penalty_every * t.isometry * terms["isometry"]
        return loss, terms

    def image_generator_loss(
        self, decoded: Images, reconstruction: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of G against D_x, weighted, and its terms, unweighted."""
        t, m = self.config, self.model
        assert t.adversarial != "none"
        prior = self.prior_codes(batch)
        with self.engine.autocast():
            from_prior = m.decoder(prior).float() if len(prior) else decoded[:0]
            # Each reconstruction keeps its place, so that it is paired with its original.
            fake = torch.cat([from_prior, decoded[len(prior) :]])
            real_logits = m.image_discriminator(batch.images)
            fake_logits = m.image_discriminator(fake)
        adversarial = losses.image_generator(
            real_logits.float(), fake_logits.float(), t.adversarial
        )
        terms = {"image_generator": adversarial}
        weight = torch.tensor(t.adversarial_weight, device=decoded.device)
        if t.balance:
            ratio = losses.balanced_weight(reconstruction, adversarial, m.decoder.last.weight)
            self.balance.lerp_(ratio, 0.01 if batch.step > t.adversarial_start + 1 else 1.0)
            weight = weight * self.balance
        loss = weight * adversarial
        if t.feature_matching > 0:
            fake_features, real_features = (
                m.image_discriminator.features(x) for x in (decoded, batch.images)
            )
            terms["feature_matching"] = losses.feature_matching(fake_features, real_features)
            loss = loss + t.feature_matching * terms["feature_matching"]
        return loss, terms

    def isometry_loss(self, z: Latents, batch: Batch) -> Tensor:
        """`losses.isometry` of G at codes on lines through random pairs of `z`. Updates G alone."""
        z, generator = z.detach(), batch.generator
        others = z[torch.randperm(len(z), generator=generator, device=z.device)]
        share = (1 + 2 * BEYOND) * torch.rand(
            len(z), 1, generator=generator, device=z.device
        ) - BEYOND
        directions = F.normalize(torch.randn(z.shape, generator=generator, device=z.device))
        return losses.isometry(self.model.decoder, z.lerp(others, share), directions)

    def prior_codes(self, batch: Batch) -> Latents:
        """z ~ p(z), shape (k, d), for the share `prior_share` of the fake images in a batch."""
        count = round(self.config.prior_share * len(batch.images))
        return torch.randn(
            count, self.model.dimension, generator=batch.generator, device=self.engine.device
        )

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
