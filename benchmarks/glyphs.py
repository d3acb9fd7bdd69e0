"""The pictures of a run of `glyphs`, and how near a traversal along weight comes to the real bold.

python benchmarks/glyphs.py runs/letters --pictures docs/pictures

Of every family with an upright regular (400) and bold (700) of one width, the regular is made bolder, and what is decoded
is compared with the real bold, by pixels and by ink. Networks, slopes and mean differences are
learned from the other families, in three folds. The autoencoder has seen nine of ten fonts; that is the same for every row.

| row | how the code moves |
|---|---|
| traverse | `Atlas.traverse` along weight, until its network reads of the decoded frame what it reads of the bold |
| traverse, codes | the same by a network that reads codes |
| traverse, steepest | as the first along the gradient of the network, and not along the pattern of real codes |
| regression | by 300 along the gradient of a linear regression of weight on codes |
| mean difference | by the mean of bold codes less that of regular ones, of the families learned from |
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
FOLDS, FRAMES = 3, 5
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
    """The table of the module's first lines, with the difference of each row to the mean difference."""
    assert images.attributes is not None
    known, families = images.attributes["weight"], images.attributes["family"].long()
    learned = images.as_float(torch.arange(len(images)))
    codes = torch.cat([atlas.encode(some) for some in learned.split(500)])
    regular, bold = map(torch.tensor, pairs(images))
    found: dict[str, list[Tensor]] = {}
    for fold in range(FOLDS):
        judged = families[regular] % FOLDS == fold
        start, end = codes[regular[judged]], codes[bold[judged]]
        rest = families % FOLDS != fold
        change = (codes[bold[~judged]] - codes[regular[~judged]]).mean(dim=0)
        ends = bolder(atlas, start, end, codes[rest], known[rest])
        ends |= {"mean difference": start + change, "stays": start, "reconstruction": end}
        real = learned[bold[judged]]
        for name, reached in ends.items():
            found.setdefault(name, []).append(judgement(atlas, reached, start, end, real))
    table = {name: torch.cat(parts) for name, parts in found.items()}
    ahead = {name: rows[:, 0] - table["mean difference"][:, 0] for name, rows in table.items()}
    return {
        "families": len(regular),
        "rows": {
            name: {
                "mse": rows[:, 0].mean().item(),
                "mse_error": standard_error(rows[:, 0]),
                "mse_median": rows[:, 0].median().item(),
                "to_mean_difference": ahead[name].mean().item(),
                "to_mean_difference_error": standard_error(ahead[name]),
                "ink": (rows[:, 1].mean() / rows[:, 2].mean()).item(),
                "off_manifold": rows[:, 3].mean().item(),
            }
            for name, rows in table.items()
        },
    }


def bolder(
    atlas: Atlas, start: Tensor, end: Tensor, learned: Tensor, known: Tensor
) -> dict[str, Tensor]:
    """Codes that were made as bold as `end` reads, by what is learned of the weights of other codes."""
    decode = atlas.properties["weight"].decode  # pyright: ignore[reportAttributeAccessIssue]
    of_images, of_codes = (
        ValueProbe.fit(
            learned, known, "weight", decode=G, generator=torch.Generator().manual_seed(0)
        )
        for G in (decode, None)
    )
    centred = learned - learned.mean(dim=0)
    slope = torch.linalg.lstsq(centred, (known - known.mean())[:, None]).solution[:, 0]
    followed = {
        "traverse": of_images,
        "traverse, codes": of_codes,
        "traverse, steepest": Function(lambda z: of_images.values(z)[:, 0], "weight"),
    }
    ends = {
        name: atlas.traverse(start, one, to=one.values(end).detach()[:, 0], frames=FRAMES).points[
            -1
        ]
        for name, one in followed.items()
    }
    return ends | {"regression": start + (BOLD - REGULAR) * slope / slope.square().sum()}


def judgement(atlas: Atlas, reached: Tensor, start: Tensor, end: Tensor, real: Tensor) -> Tensor:
    """Of each code its squared error, its ink and that of the bold above the regular's, and whether
    it is off-manifold; shape (n, 4).
    """
    shown, least, whole = (atlas.decode(codes) for codes in (reached, start, end))
    errors = (shown - real).square().flatten(1).mean(dim=1)
    off = atlas.map.log_prob(reached) < atlas.map.threshold(OFF_MANIFOLD_SHARE)
    return torch.stack(
        [errors, ink(shown) - ink(least), ink(whole) - ink(least), off.float()], dim=1
    )


def standard_error(values: Tensor) -> float:
    return (values.std() / len(values) ** 0.5).item()


def ink(images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """The share of an image that is dark."""
    return 1 - images.flatten(1).mean(dim=1)


if __name__ == "__main__":
    main()
