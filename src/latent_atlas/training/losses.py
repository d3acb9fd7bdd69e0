r"""One pure function per term, each with its equation, its sign and the network it moves.

Every function returns a loss to be *minimised*. Logits are of "real": images of the collection and codes of the
encoder are real (1), decoded images and boundary codes are fake (0).

| term | moves | by |
|---|---|---|
| `reconstruction` | E, G | bringing G(z) to x |
| `image_discriminator` | D_x | raising D_x(x), lowering D_x(G(z)) |
| `image_generator` | G (and E) | raising D_x(G(z)) |
| `gradient_penalty` | D_x | flattening D_x at given images |
| `feature_matching` | G, E | bringing D_x's features of G(z) to those of x |
| `isometry` | G | making equal steps in Z equal changes of the image |
| `latent_fooling` | E, mode adversarial only | lowering D_z(z_real) |
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


def reconstruction(decoded: Images, images: Images, kind: Literal["l1", "l2"]) -> Scalar:
    """Mean over pixels, channels and images of |G(z) - x| (l1) or (G(z) - x)² (l2). Moves E and G."""
    return F.l1_loss(decoded, images) if kind == "l1" else F.mse_loss(decoded, images)


def image_discriminator(real: Values, fake: Values, kind: Adversarial) -> Scalar:
    """Loss of D_x on the logits of real and generated images, shape (n,) each. Moves D_x.

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
    """Loss of the decoder against D_x: it falls as D_x(G(z)) rises. Moves G.

    relativistic: softplus(-(D(G(z)) - D(x))); hinge: -D(G(z)); non-saturating: softplus(-D(G(z))).
    """
    if kind == "relativistic":
        return F.softplus(real - fake).mean()
    if kind == "hinge":
        return -fake.mean()
    return F.softplus(-fake).mean()


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], images: Images) -> Scalar:
    """E |grad_x D_x(x)|² / 2: R1 at real images, R2 at generated ones. Moves D_x.

    The inner gradient is `torch.func.grad`, which works beside compiled networks; a double backward does not.

    References:
        Which Training Methods for GANs do actually Converge?, Mescheder et al. 2018.
    """
    slope = torch.func.grad(lambda x: discriminator(x).sum())(images)
    return 0.5 * slope.flatten(1).square().sum(dim=1).mean()


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Scalar:
    """Mean squared distance of D_x's feature maps of G(z) from those of x, averaged over layers. Moves G and E.

    References:
        Autoencoding beyond pixels using a learned similarity metric, Larsen et al. 2016.
    """
    return torch.stack([F.mse_loss(f, r.detach()) for f, r in zip(fake, real, strict=True)]).mean()


def isometry(decoder: Callable[[Tensor], Tensor], latents: Latents, directions: Latents) -> Scalar:
    r"""E[s²] / E[s]² - 1, s = |J_G(z) v|²: how unequal are the changes that unit steps v make. Moves G.

    The squared coefficient of variation of s over codes and directions, 0 where J_Gᵀ J_G = c I at all of them, whatever
    c: a scaled isometry. For v uniform on the unit sphere and a constant J with singular values σ it is
    2 / (d + 2) · (d Σ σ⁴ / (Σ σ²)² - 1), up to its scale and least value the relaxed distortion measure of Lee et al.
    That one takes J_Gᵀ J_G v, and so a second backward pass; here J_G v is enough.

    References:
        Regularized Autoencoders for Isometric Representation Learning, Lee et al. 2022; with a fixed scale, Isometric
        Autoencoders, Gropp et al. 2020.

    Arguments:
        decoder: G, codes (n, d) to images (n, ...).
        latents: Where, shape (n, d).
        directions: v, of unit length, one for each code, shape (n, d).

    Examples:
        >>> unit = torch.eye(2)
        >>> isometry(lambda z: 3 * z, unit, unit), isometry(lambda z: z * torch.tensor([3.0, 1.0]), unit, unit)
        (tensor(0.), tensor(0.6400))
    """
    changes = torch.func.jvp(decoder, (latents,), (directions,))[1]
    s = changes.flatten(1).square().sum(dim=1)
    return s.square().mean() / s.mean().square() - 1


def latent_fooling(real: Values) -> Scalar:
    """-log(1 - D_z(z_real)) = softplus(l(z_real)): falls as encoder codes look fake. Moves E.

    References:
        Adversarial Autoencoders, Makhzani et al. 2015 (there with the labels the other way round).
    """
    return F.softplus(real).mean()


def balanced_weight(
    reconstruction_loss: Scalar, adversarial_loss: Scalar, last_layer: Tensor, *, cap: float = 1e4
) -> Scalar:
    """|grad L_rec| / |grad L_adv| at the decoder's last layer, at most `cap`: equal pull of both on G.

    Arguments:
        reconstruction_loss, adversarial_loss: Losses whose graphs are kept.
        last_layer: Weight of the decoder's last layer.

    References:
        Taming Transformers for High-Resolution Image Synthesis, Esser et al. 2021, equation 7.
    """
    (rec,) = torch.autograd.grad(reconstruction_loss, last_layer, retain_graph=True)
    (adv,) = torch.autograd.grad(adversarial_loss, last_layer, retain_graph=True)
    return (rec.norm() / (adv.norm() + 1e-8)).clamp(max=cap).detach()
