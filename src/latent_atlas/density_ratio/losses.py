"""The two losses of D_z, each with its equation.

Logits are of "real": codes of the encoder are real (1), codes of the boundary are fake (0).
"""

import torch.nn.functional as F
from torch import Tensor

from latent_atlas.shapes import Latents, Scalar, Values

__all__ = ["latent_discriminator", "score_matching"]


def latent_discriminator(real: Values, fake: Values) -> Scalar:
    """Cross-entropy of D_z in nats: mean of softplus(-l(z_real)) and softplus(l(z_fake)).

    At l* = log q - log r it equals log 2 - JS(q || r); at l = 0, log 2. Its gradient trains D_z.
    """
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def score_matching(score: Latents, noise: Latents, root: Tensor) -> Scalar:
    """1/2 |root · score + eps|² per code, summed over coordinates, in nats.

    It is least where score = E[-eps | z] / root, the gradient of log q_t. Its gradient trains D_z.

    References:
        A Connection Between Score Matching and Denoising Autoencoders, Vincent 2011.

    Arguments:
        score: Shape (n, d).
        noise: eps of z = m + root · eps, shape (n, d).
        root: Shape (n, 1) or (n, d), 0 or more.
    """
    return 0.5 * (root * score + noise).square().sum(dim=1).mean()
