"""Networks and tables of a run for other programs: each is read back and compared with the library."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas import Atlas, LatentMap
from latent_atlas.codes.posterior import WIDE, Codes
from latent_atlas.config import Config, MapConfig
from latent_atlas.density.toys import StudentT
from latent_atlas.errors import UserError

CLOSE = 1e-4


@pytest.fixture(scope="module")
def atlas(digits_run: Path) -> Atlas:
    return Atlas.load(digits_run, device="cpu")


def computed(file: Path, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The outputs of a written network by name, or by number of a program."""
    if file.suffix == ".pt2":
        outputs = torch.export.load(file).module()(*inputs.values())
        several = outputs if isinstance(outputs, tuple | list) else (outputs,)
        return {str(number): value for number, value in enumerate(several)}
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {name: value.numpy() for name, value in inputs.items()})
    return dict(zip(names, map(torch.from_numpy, values), strict=True))


NAMES = {
    "onnx": ("logit", "log_prob", "logit_slope", "score", "images", "latents", "width"),
    "torch": ("0", "1", "2", "3", "0", "0", "1"),
}


@pytest.mark.parametrize("format", NAMES)
def test_encoder_decoder_and_map_compute_what_the_library_does(
    format: str, atlas: Atlas, tmp_path: Path, generator: torch.Generator
) -> None:
    files = {file.stem: file for file in atlas.export(tmp_path / "new", format)}
    assert {*files} == {"slopes", "decode", "encode"} | ({"map"} if format == "onnx" else set())
    logit, log_prob, slope, score, images, latents, width = NAMES[format]
    for rows in (1, 5):  # another number than that of the trace
        z = torch.randn(rows, atlas.map.dimension, generator=generator)
        x = torch.rand(rows, *atlas.image_shape, generator=generator)
        for angle in (0.0, 0.7):
            noised = atlas.map.noised(float(np.tan(angle))) if angle else atlas.map
            steep = computed(files["slopes"], latents=z, angle=torch.tensor([angle]))
            wanted = z.requires_grad_(True)
            (gradient,) = torch.autograd.grad(noised.logit(wanted).sum(), wanted)
            z = z.detach()
            for name, expected in (
                (logit, noised.logit(z)),
                (log_prob, noised.log_prob(z)),
                (slope, gradient),
                (score, noised.score(z)),
            ):
                torch.testing.assert_close(steep[name], expected.detach(), atol=CLOSE, rtol=CLOSE)
        shown = computed(files["decode"], latents=z)[images]
        torch.testing.assert_close(shown, atlas.decode(z), atol=CLOSE, rtol=CLOSE)
        encoded = computed(files["encode"], images=x)
        torch.testing.assert_close(encoded[latents], atlas.encode(x), atol=CLOSE, rtol=CLOSE)
        assert atlas.model is not None
        spread = atlas.model.posterior(x)[1]
        assert spread is not None
        sigma = (spread.flatten(1).mean(dim=1) / 2).exp()
        torch.testing.assert_close(encoded[width], sigma, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("format", ["onnx", "torch"])
@pytest.mark.parametrize("dimension", [4, 80])
def test_a_map_that_began_at_a_mixture_is_written_for_any_number_of_rows(
    format: Literal["onnx", "torch"], dimension: int, tmp_path: Path, generator: torch.Generator
) -> None:
    codes = StudentT(dimension, freedom=4.0).sample(600, generator=generator)
    config = MapConfig(width=16, depth=1, steps=20, reference="scale-mixture")
    if dimension > WIDE:
        config = replace(config, reference="mixture", boundary="gaussian")
    latent_map = LatentMap.fit(codes, config=config, generator=generator, warn=False)
    atlas = Atlas(None, latent_map, {"train": Codes(codes), "held_out": Codes(codes)}, Config())
    files = {file.stem: file for file in atlas.export(tmp_path / "new", format)}
    logit, log_prob, _, score, *_ = NAMES[format]
    for rows in (1, 11):
        z = codes[:rows]
        for angle in (0.0, 0.7):
            noised = latent_map.noised(float(np.tan(angle))) if angle else latent_map
            found = computed(files["slopes"], latents=z, angle=torch.tensor([angle]))
            for name, expected in (
                (logit, noised.logit(z)),
                (log_prob, noised.log_prob(z)),
                (score, noised.score(z)),
            ):
                torch.testing.assert_close(found[name], expected, atol=1e-3, rtol=1e-3)


def test_an_unknown_format_and_a_file_in_the_way_are_refused(
    atlas: Atlas, digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="format is 'tflite'; give 'onnx', 'torch'"):
        atlas.export(tmp_path, "tflite")  # pyright: ignore[reportArgumentType]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; choose another folder"):
        atlas.export(tmp_path / "file", "torch")
    assert latent_atlas("export", str(digits_run), "--out", str(tmp_path / "file")) == 2
    assert "is a file; choose another --out" in capsys.readouterr().err


def test_a_table_of_images_has_the_columns_that_viewers_read(
    atlas: Atlas, digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = str(tmp_path / "table")
    assert latent_atlas("export", str(digits_run), "--to", "parquet", "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    table = parquet.read_table(Path(out) / "images.parquet")
    assert told["files"] == {"images.parquet": (Path(out) / "images.parquet").stat().st_size}
    assert {field.name: str(field.type) for field in table.schema} == {
        "name": "string",
        "code": "fixed_size_list<element: float>[3]",
        "image": "struct<bytes: binary, path: string>",
        "label": "string",
        "x": "float",
        "y": "float",
        "log_prob": "float",
        "rarity": "float",
        "anomaly_score": "double",
        "p_value": "double",
    }
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}
    codes = atlas.codes["held_out"].means
    rows = table.to_pydict()
    assert len(table) == len(codes)
    torch.testing.assert_close(torch.tensor(rows["code"]), codes)
    torch.testing.assert_close(torch.tensor(rows["log_prob"]), atlas.map.log_prob(codes))
    numbers = atlas.labels["held_out"].tolist()
    assert rows["label"] == [atlas.label_names[number] for number in numbers]
    pixels = np.asarray(Image.open(io.BytesIO(rows["image"][3]["bytes"])))
    shown = (255 * atlas.decode(codes[3:4])[0, 0]).round().to(torch.uint8)
    assert np.array_equal(pixels, shown.numpy())
    assert rows["image"][3]["path"] == rows["name"][3] == "test:3"
    across = torch.tensor([rows["x"], rows["y"]])
    assert abs(float(torch.corrcoef(across)[0, 1])) < 1e-3  # principal components
    assert across[0].var() > across[1].var()
