"""The pictures of a run of `glyphs`, and how near a traversal along weight comes to the real bold.

python benchmarks/glyphs.py runs/letters --pictures docs/pictures

Of every held-out family with an upright regular (400) and bold (700) of one width, the regular is made bolder, and what
is decoded is compared with the real bold, by pixels and by ink:

| row | how the code moves |
|---|---|
| traverse | `Atlas.traverse` along weight, until its network reads of the decoded frame what it reads of the bold |
| traverse, codes | the same by a network that reads codes |
| traverse, steepest | as the first along the gradient of the network, and not along the pattern of real codes |
| regression | by 300 along the gradient of a linear regression of weight on codes |
| mean difference | by the mean of bold codes less that of regular ones, of training fonts |
| stays | not at all |
| reconstruction | to the code of the real bold, which is what there is to reach |
"""

import argparse
import shutil
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.cli.commands.demo import draw_typefaces
from latent_atlas.data.imageset import ImageSet
from latent_atlas.data.load import load_images
from latent_atlas.travel import Function, ValueProbe
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE
from record import record

REGULAR, BOLD = 400, 700
PICTURES = ("typefaces", "weight", "outliers", "map")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder to copy the pictures to")
    given = parser.parse_args()
    atlas = Atlas.load(given.run)
    images = load_images(atlas.config.data, atlas.image_shape[1], 1)
    told = draw_typefaces(given.run)
    for name in PICTURES if given.pictures else ():
        shutil.copy(given.run / f"{name}.png", given.pictures / f"glyphs-{name}.png")
    weight = atlas.properties["weight"]
    assert isinstance(weight, ValueProbe)
    record("glyphs", {"explained": weight.explained, **compared(atlas, images), "told": told})


def pairs(images: ImageSet) -> tuple[list[int], list[int]]:
    """Numbers of the regular and the bold of each family that has both, upright and of one width."""
    assert images.attributes is not None
    known = {name: values.tolist() for name, values in images.attributes.items()}
    upright = [row for row in range(len(images)) if known["slant"][row] == 0]
    named = {
        (known["family"][row], known["width"][row], known["weight"][row]): row
        for row in reversed(upright)
    }
    found = [
        (row, named[family, width, BOLD])
        for (family, width, at), row in sorted(named.items())
        if at == REGULAR and (family, width, BOLD) in named
    ]
    regular, bold = zip(*found, strict=True)
    return list(regular), list(bold)


def compared(atlas: Atlas, images: ImageSet) -> dict[str, object]:
    """The table of the module's first lines."""
    train, held_out = images.train, images.test
    assert train.attributes is not None
    known, learned = train.attributes["weight"], atlas.codes["train"].means
    regular, bold = pairs(held_out)
    start, end = (atlas.codes["held_out"].means[rows] for rows in (regular, bold))
    of_codes = ValueProbe.fit(learned, known, "weight", generator=torch.Generator().manual_seed(0))
    centred = learned - learned.mean(dim=0)
    slope = torch.linalg.lstsq(centred, (known - known.mean())[:, None]).solution[:, 0]
    trained = [learned[rows] for rows in pairs(train)]
    of_images = atlas.properties["weight"]
    steepest = Function(lambda z: of_images.values(z)[:, 0], "weight")
    followed = {
        "traverse": of_images,
        "traverse, codes": of_codes,
        "traverse, steepest": steepest,
    }
    ends = {
        name: atlas.traverse(start, one, to=one.values(end).detach()[:, 0]).points[-1]
        for name, one in followed.items()
    }
    ends |= {
        "regression": start + (BOLD - REGULAR) * slope / slope.square().sum(),
        "mean difference": start + (trained[1] - trained[0]).mean(dim=0),
        "stays": start,
        "reconstruction": end,
    }
    real = held_out.as_float(torch.tensor(bold))
    least, whole = (ink(atlas.decode(codes)) for codes in (start, end))
    rows = {}
    for name, codes in ends.items():
        shown = atlas.decode(codes)
        errors = (shown - real).square().flatten(1).mean(dim=1)
        rows[name] = {
            "mse": errors.mean().item(),
            "mse_error": (errors.std() / len(errors) ** 0.5).item(),
            "ink": ((ink(shown) - least).mean() / (whole - least).mean()).item(),
            "off_manifold": (atlas.map.log_prob(codes) < atlas.map.threshold(OFF_MANIFOLD_SHARE))
            .float()
            .mean()
            .item(),
        }
    return {"families": len(regular), "rows": rows}


def ink(images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """The share of an image that is dark."""
    return 1 - images.flatten(1).mean(dim=1)


if __name__ == "__main__":
    main()
