"""A small network of codes or of images, and how it learns until held-out ones gain no more."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas import progress
from latent_atlas.shapes import Scalar

__all__ = ["Network", "Outputs", "learned"]

BATCH, IMAGES = 256, 128  # codes, or images, of a step
CHANNELS = (32, 64, 128)
CHECKED_EVERY = 100  # steps
# Share of the codes that decide when to stop, and as many again that the accuracy is measured on.
HELD_OUT = 0.1
RATE = 3e-3  # highest learning rate
STEPS, STEPS_OF_IMAGES = 1500, 400
WIDTH = 128

Outputs = Float[Tensor, "n k"]
Loss = Callable[[Tensor, Tensor], Scalar]
Numbers = Int[Tensor, " _"]  # of codes


@dataclass(frozen=True, eq=False)
class Network:
    """f(z) = W_3 s(W_2 s(W_1 (z - m) / c + b_1) + b_2) + b_3 with s(h) = h sigmoid(h).

    Of images, the W_i before the last are convolutions of stride 2, and their mean goes into it.

    Attributes:
        mean, scale: m and c, shape (d,), or (channels, 1, 1).
        weights, biases: W_i (out, in) or (out, in, 3, 3), and b_i (out,).
    """

    mean: Tensor
    scale: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def initial(cls, inputs: Tensor, outputs: int, *, generator: torch.Generator) -> "Network":
        """W_i ~ N(0, 1 / in), of convolutions N(0, 2 / in), and b_i = 0, for such inputs."""
        images = inputs.ndim == 4
        sizes = (inputs.shape[1], *(CHANNELS if images else (WIDTH, WIDTH)))
        kernel = (3, 3) if images else ()
        shapes = [(after, before, *kernel) for before, after in itertools.pairwise(sizes)]
        shapes.append((outputs, sizes[-1]))
        draws = [
            torch.randn(shape, generator=generator, device=generator.device)
            * math.sqrt((2 if len(shape) == 4 else 1) / math.prod(shape[1:]))
            for shape in shapes
        ]
        over = (0, 2, 3) if images else 0
        spread = inputs.std(dim=over, keepdim=images).flatten(0, 1 if images else 0)
        spread = torch.where(spread > 0, spread, 1.0)  # a constant coordinate says nothing
        return cls(
            inputs.mean(dim=over, keepdim=images).flatten(0, 1 if images else 0),
            spread,
            tuple(draws),
            tuple(torch.zeros(len(w), device=w.device) for w in draws),
        )

    def __call__(self, inputs: Tensor) -> Outputs:
        """f(z), shape (n, k), with the precision and on the device of the inputs."""
        hidden = (inputs - self.mean.to(inputs)) / self.scale.to(inputs)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = F.silu(hidden) if i else hidden
            if weight.ndim == 4:
                hidden = F.conv2d(hidden, weight.to(inputs), bias.to(inputs), stride=2, padding=1)
            else:
                hidden = hidden.flatten(2).mean(dim=2) if hidden.ndim == 4 else hidden
                hidden = F.linear(hidden, weight.to(inputs), bias.to(inputs))
        return hidden

    def frozen(self) -> "Network":
        """A copy that learns no more."""
        weights, biases = (
            tuple(p.detach().clone() for p in parts) for parts in (self.weights, self.biases)
        )
        return replace(self, weights=weights, biases=biases)


def learned(
    inputs: Tensor,
    targets: Tensor,
    outputs: int,
    loss: Loss,
    *,
    steps: int | None,
    noise: float = 0.0,
    generator: torch.Generator,
) -> tuple[Network, Numbers, Numbers]:
    """Fit a network; it is as it was where its loss on the codes to stop by was least.

    Arguments:
        inputs: Codes (n, d), or images (n, c, h, w).
        targets: What to tell of each.
        outputs: k.
        loss: Of outputs and targets.
        steps: Of optimisation; None is 1,500 on batches of 256 codes, or 400 of 128 images.
        noise: Standard deviation of what is added to inputs, in units of theirs.
        generator: Source of all randomness.

    Returns:
        The network; the numbers of the codes that decided when to stop; and those of as many that
        it has not seen.
    """
    train, stop, test = _parts(len(inputs), generator)
    network = Network.initial(inputs[train], outputs, generator=generator)
    images = inputs.ndim == 4
    size = IMAGES if images else BATCH
    steps = steps or (STEPS_OF_IMAGES if images else STEPS)
    best, lowest = None, math.inf
    # A tensor made in inference mode cannot enter autograd, so everything is made outside of it.
    with torch.inference_mode(False), torch.enable_grad():
        known, targets = inputs.clone(), targets.clone()
        network = network.frozen()
        parameters = [p.requires_grad_() for p in (*network.weights, *network.biases)]
        optimizer = torch.optim.AdamW(parameters, lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for step in progress.steps("probe", range(1, steps + 1)):
            rows = torch.randint(len(train), (size,), generator=generator, device=generator.device)
            some = train[rows]
            seen = known[some]
            seen = seen + noise * network.scale * torch.randn(
                seen.shape, generator=generator, device=generator.device
            )
            optimizer.zero_grad()
            loss(network(seen), targets[some]).backward()
            optimizer.step()
            schedule.step()
            if step % CHECKED_EVERY == 0 or step == steps:
                on_stop = loss(network(known[stop]), targets[stop]).item()
                if best is None or on_stop < lowest:
                    lowest, best = on_stop, network.frozen()
    assert best is not None  # the last step is always checked
    return best, stop, test


def _parts(n: int, generator: torch.Generator) -> tuple[Numbers, Numbers, Numbers]:
    """Numbers of codes: to learn from, to decide when to stop, and to measure the accuracy on."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    count = max(int(HELD_OUT * n), 4)
    return order[2 * count :], order[count : 2 * count], order[:count]
