r"""The terms of the VAE-GAN's losses: one pure function each.

Every function returns a loss to be *minimised*. Discriminators give the logit of "real" (1): images
of the training set and codes of the encoder are real, decoded images and boundary codes are fake.

| term | equation | updates |
|---|---|---|
| `reconstruction` | mean of \|G(z) - x\| or of (G(z) - x)² | E, G |
| `image_discriminator` | softplus(D_x(G(z)) - D_x(x)), and two alternatives | D_x |
| `image_generator` | softplus(D_x(x) - D_x(G(z))), and two alternatives | G, and E through z |
| `gradient_penalty` | E \|grad_x D_x(x)\|² / 2 | D_x |
| `feature_matching` | mean of (f(G(z)) - f(x))², with f the feature maps of D_x | E, G |
| `isometry` | E[s²] / E[s]² - 1, with s = \|J_G(z) v\|² for random unit v | G |
| `latent_fooling` | softplus(D_z(z_real)) | E, in mode adversarial |

The cross-entropy of D_z is `density_ratio.losses.latent_discriminator`, KL(q(z|x) || p) is
`codes.posterior.kl_standard_normal`. `training.step` says with which weights they are added.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.shapes import Images, Latents, Scalar, Values

__all__ = [
    "balanced_weight",
    "feature_matching",
    "gradient_penalty",
    "image_discriminator",
    "image_generator",
    "isometry",
    "latent_fooling",
    "reconstruction",
]

Adversarial = Literal["relativistic", "hinge", "non-saturating"]


def _same(value: Tensor) -> Tensor:
    """The mean over processes where there is one."""
    return value


def reconstruction(decoded: Images, images: Images, kind: Literal["l1", "l2"]) -> Scalar:
    """Mean over pixels, channels and images of |G(z) - x| (l1) or of (G(z) - x)² (l2).

    Updates E and G.
    """
    return F.l1_loss(decoded, images) if kind == "l1" else F.mse_loss(decoded, images)


def image_discriminator(real: Values, fake: Values, kind: Adversarial) -> Scalar:
    """Loss of D_x on the logits of real and generated images, shape (n,) each. Updates D_x.

    relativistic: softplus(-(D(x) - D(G(z)))), each real image paired with a fake one;
    hinge: max(0, 1 - D(x)) + max(0, 1 + D(G(z)));
    non-saturating: softplus(-D(x)) + softplus(D(G(z))).

    References:
        The Relativistic Discriminator, Jolicoeur-Martineau 2018; Geometric GAN, Lim and Ye 2017;
        Generative Adversarial Networks, Goodfellow et al. 2014.
    """
    if kind == "relativistic":
        return F.softplus(fake - real).mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def image_generator(real: Values, fake: Values, kind: Adversarial) -> Scalar:
    """Loss of the decoder against D_x, which falls as D_x(G(z)) rises. Updates G.

    relativistic: softplus(-(D(G(z)) - D(x))); hinge: -D(G(z)); non-saturating: softplus(-D(G(z))).
    """
    if kind == "relativistic":
        return F.softplus(real - fake).mean()
    if kind == "hinge":
        return -fake.mean()
    return F.softplus(-fake).mean()


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], images: Images) -> Scalar:
    """E |grad_x D_x(x)|² / 2: R1 at real images, R2 at generated ones. Updates D_x.

    The inner gradient is `torch.func.grad`, which works with compiled networks, unlike a double
    backward pass.

    References:
        Which Training Methods for GANs do actually Converge?, Mescheder et al. 2018.
    """
    slope = torch.func.grad(lambda x: discriminator(x).sum())(images)
    return 0.5 * slope.flatten(1).square().sum(dim=1).mean()


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Scalar:
    """Mean squared difference of D_x's feature maps of G(z) and x, over all layers. Updates E, G.

    References:
        Autoencoding beyond pixels using a learned similarity metric, Larsen et al. 2016.
    """
    return torch.stack(
        [F.mse_loss(f.float(), r.detach().float()) for f, r in zip(fake, real, strict=True)]
    ).mean()


def isometry(
    decoder: Callable[[Tensor], Tensor],
    latents: Latents,
    directions: Latents,
    *,
    mean: Callable[[Tensor], Tensor] = _same,
) -> Scalar:
    r"""E[s²] / E[s]² - 1, s = |J_G(z) v|²: how unequally unit steps v change the image. Updates G.

    This is the squared coefficient of variation of s over codes and directions. It is 0 for a
    scaled isometry, J_Gᵀ J_G = c I with the same c at all codes. For v uniform on the unit sphere
    and a constant J with singular values σ it is 2 / (d + 2) · (d Σ σ⁴ / (Σ σ²)² - 1), which is the
    relaxed distortion measure of Lee et al. up to scale and offset. Theirs needs J_Gᵀ J_G v, and so
    a second backward pass; here J_G v is enough.

    References:
        Regularized Autoencoders for Isometric Representation Learning, Lee et al. 2022; with a
        fixed scale, Isometric Autoencoders, Gropp et al. 2020.

    Arguments:
        decoder: G, codes (n, d) to images (n, ...).
        latents: Where it is evaluated, shape (n, d).
        directions: v, of unit length, one for each code, shape (n, d).
        mean: The mean of a value over the processes that share the batch; a ratio of means is no
            mean of ratios.

    Examples:
        >>> unit, stretch = torch.eye(2), torch.tensor([3.0, 1.0])
        >>> isometry(lambda z: 3 * z, unit, unit), isometry(lambda z: z * stretch, unit, unit)
        (tensor(0.), tensor(0.6400))
    """
    changes = torch.func.jvp(decoder, (latents,), (directions,))[1]
    s = changes.flatten(1).square().sum(dim=1)
    return mean(s.square().mean()) / mean(s.mean()).square() - 1


def latent_fooling(real: Values) -> Scalar:
    """-log(1 - D_z(z_real)) = softplus(l(z_real)): falls as encoder codes look fake. Updates E.

    References:
        Adversarial Autoencoders, Makhzani et al. 2015, with labels swapped.
    """
    return F.softplus(real).mean()


def balanced_weight(
    reconstruction_loss: Scalar,
    adversarial_loss: Scalar,
    last_layer: Tensor,
    *,
    cap: float = 1e4,
    mean: Callable[[Tensor], Tensor] = _same,
) -> Scalar:
    """|grad L_rec| / |grad L_adv| at the decoder's last layer, the weight that makes both equal.

    Arguments:
        reconstruction_loss, adversarial_loss: Losses whose graphs are kept.
        last_layer: Weight of the decoder's last layer.
        cap: Upper bound of the result.
        mean: The mean of a value over the processes that share the batch, as for `isometry`.

    References:
        Taming Transformers for High-Resolution Image Synthesis, Esser et al. 2021, equation 7.
    """
    (rec,) = torch.autograd.grad(reconstruction_loss, last_layer, retain_graph=True)
    (adv,) = torch.autograd.grad(adversarial_loss, last_layer, retain_graph=True)
    return (mean(rec).norm() / (mean(adv).norm() + 1e-8)).clamp(max=cap).detach()
