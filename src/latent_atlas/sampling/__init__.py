"""Sampling: `draw(density, n, sampler)`, and the normalising constant of an energy."""

from latent_atlas.sampling.adaptive import NormalisingConstant, log_normalising_constant
from latent_atlas.sampling.base import Sampler, SamplerInfo, Samples
from latent_atlas.sampling.baselines import Flow, Mixture, Prior
from latent_atlas.sampling.convergence import bulk_ess, split_r_hat
from latent_atlas.sampling.diffusion import Diffusion
from latent_atlas.sampling.distribution import TorchDistribution
from latent_atlas.sampling.importance import Importance, Rejection
from latent_atlas.sampling.mcmc import HMC, MALA, ULA
from latent_atlas.sampling.registry import SAMPLERS, draw
from latent_atlas.sampling.smc import SMC

__all__ = [
    "HMC",
    "MALA",
    "SAMPLERS",
    "SMC",
    "ULA",
    "Diffusion",
    "Flow",
    "Importance",
    "Mixture",
    "NormalisingConstant",
    "Prior",
    "Rejection",
    "Sampler",
    "SamplerInfo",
    "Samples",
    "TorchDistribution",
    "bulk_ess",
    "draw",
    "log_normalising_constant",
    "split_r_hat",
]
