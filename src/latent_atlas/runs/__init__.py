"""A run folder: how its files are written, read and replaced.

| file | content |
|---|---|
| config.json | all settings of the run; with the images, they determine it |
| manifest.json, rejects.jsonl | the images, and the files that could not be read |
| log.jsonl | a record a line: losses of the model, then of the map |
| state.safetensors | the last checkpoint: networks, averages, optimisers, step |
| model.safetensors | the finished networks; absent in a run from codes alone |
| map.safetensors | the finished map: D_z, boundary, calibration |
| growing.safetensors | the map at the last check while it is fitted |
| attributes.safetensors | known attributes of all images, where they have some |
| codes.safetensors | means, log-variances and labels of all images; held-out errors |
| examples.safetensors | some held-out images and their labels |
| embeddings/ | codes and thumbnails of a collection, as `latent-atlas embed` wrote them |
| comparison.safetensors | what `latent-atlas compare` found last |
| decoder/ | the decoder that was learned for a collection: config.json, log.jsonl, \
state.safetensors and model.safetensors as above |
| neighbours.faiss | an index of the training codes, where there are a million or more |

Every file is replaced as a whole: a run that is killed at any moment leaves complete files. Each
but the index carries checksums of its content, which are compared whenever it is read; files of
older versions have none and are read unverified. One process writes into a folder at a time: it
holds `.lock`.
"""

from latent_atlas.runs.folder import LEFT_OVER, Run, json_safe
from latent_atlas.runs.tensors import (
    CHECKSUMS,
    Layout,
    check_layout,
    is_signed,
    read_tensors,
    reading,
    tensor_shapes,
    write_tensors,
)

__all__ = [
    "CHECKSUMS",
    "LEFT_OVER",
    "Layout",
    "Run",
    "check_layout",
    "is_signed",
    "json_safe",
    "read_tensors",
    "reading",
    "tensor_shapes",
    "write_tensors",
]
