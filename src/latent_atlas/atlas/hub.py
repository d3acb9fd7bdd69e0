"""Runs on the Hugging Face hub: what of a run is published, and how it comes back.

| file | content |
|---|---|
| README.md | the model card, by `card` |
| config.json, manifest.json | settings and sizes, without the places of files |
| model.safetensors, decoder/ | the networks |
| map.safetensors | D_z, boundary and calibration |
| codes.safetensors | codes and labels of the images: paths, samples and scores need them |
| attributes.safetensors | known attributes of the images, where they have some |
| map.png, travel.png, samples.png | pictures of `latent-atlas report` |

Never published are images and thumbnails, names of files, logs, and states of optimisers. Still a
decoded code looks like the image that it is of, so a run of a source that is not public is
published only when its owner says so. A file is JSON or safetensors: reading one runs no code.
"""

import importlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from latent_atlas.atlas.card import model_card
from latent_atlas.codes.huggingface import PREFIX
from latent_atlas.config.run import Config
from latent_atlas.data.named import NAMED_SETS
from latent_atlas.errors import UserError, did_you_mean, require
from latent_atlas.files import write_text
from latent_atlas.runs import Run, read_tensors, write_tensors

__all__ = ["PREFIX", "fetch", "publish", "push"]

PICTURES = ("map.png", "travel.png", "samples.png")
COPIED = (
    "model.safetensors",
    "map.safetensors",
    "attributes.safetensors",
    "decoder/model.safetensors",
    *PICTURES,
)
WRITTEN = ("README.md", "config.json", "manifest.json", "codes.safetensors", "decoder/config.json")
ABOUT = (
    "n",
    "n_train",
    "n_held_out",
    "image_size",
    "channels",
    "label_names",
    "attributes",
    "digest",
    "fitted_to",
    "copies",
)
"""What manifest.json keeps."""
RESULTS = ("metrics.json", "evaluation.json")
LICENCES = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0
cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 grok2-community h-research
intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 other
pddl postgresql unknown unlicense wtfpl zlib
"""
"""The names that the hub accepts for a licence."""


def publish(
    run: Path | None, folder: Path, *, own_images: bool = False, licence: str | None = None
) -> None:
    """Write the part of a run that may be published to a folder, which `Atlas.load` reads.

    Arguments:
        run: A finished run folder; None of an atlas that has none.
        folder: A new or an empty folder.
        own_images: Whether codes of a source that is not public may be published.
        licence: By its name on the hub, such as "cc-by-4.0"; None tells none.

    Raises:
        UserError: there is no run, the folder holds something, the run has not finished, its source
            is not public, the hub does not know the licence, or huggingface_hub is not installed.
    """
    if run is None:
        raise UserError(
            "this atlas wraps an autoencoder and has no run folder; save the autoencoder by "
            "its own library, and publish a run of train, fit or embed"
        )
    kept, made = Run(run), Run(folder)
    config = kept.config()
    require(
        kept.file("map.safetensors").is_file(), f"{run} has no map.safetensors; finish it first"
    )
    source = config.data.source
    public = source in NAMED_SETS or source.startswith(PREFIX)
    require(
        public or own_images,
        f"{run} is of images that are not public ({source or 'it names no source'}), and its codes "
        "decode to pictures like them; give --own-images (own_images=True) if they may be "
        "published",
    )
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"{folder} holds something already; choose another folder",
    )
    require(
        licence is None or licence in LICENCES.split(),
        f"the hub knows no licence '{licence}'; choose one of "
        "huggingface.co/docs/hub/repositories-licenses, or other for one that is not among them"
        f"{did_you_mean(str(licence), LICENCES.split())}",
    )
    _hub()  # fails before anything is written
    (folder / "decoder").mkdir(parents=True)
    manifest = kept.read_json("manifest.json") or {}
    shown = source if public else ""
    config = _with_source(config, shown)
    made.begin(config)
    made.write_json("manifest.json", {name: manifest[name] for name in ABOUT if name in manifest})
    for name in COPIED:
        if kept.file(name).is_file():
            shutil.copyfile(kept.file(name), made.file(name))
    if kept.decoder.file("model.safetensors").is_file():
        made.decoder.begin(_with_source(kept.decoder.config(), shown))
    else:
        (folder / "decoder").rmdir()
    tensors, metadata = read_tensors(kept.file("codes.safetensors"))
    named = {name: value for name, value in tensors.items() if not name.endswith(".rows")}
    write_tensors(made.file("codes.safetensors"), named, metadata)
    pictures = [name for name in PICTURES if made.file(name).is_file()]
    results = {name: _results(kept.file(name)) for name in RESULTS}
    text = model_card(_hub(), config, manifest, results, pictures, licence)
    write_text(made.file("README.md"), text)


def push(
    run: Path | None,
    name: str,
    *,
    own_images: bool = False,
    public: bool = False,
    licence: str | None = None,
) -> str:
    """Publish a run in a repository of the hub; see `Atlas.push_to_hub`."""
    hub, (repository, revision) = _hub(), _split(name)
    require(not revision, f"'{name}' names a revision, which the hub makes; give hf:OWNER/NAME")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        publish(run, folder, own_images=own_images, licence=licence)
        with _hub_errors(name):
            api = hub.HfApi()
            api.create_repo(repository, private=not public, exist_ok=True)
            require(
                public or api.model_info(repository).private,
                f"'{name}' is there already and all may see it; give --public (public=True), or "
                "another name",
            )
            done = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message="A latent atlas"
            )
    return str(done.commit_url)


def fetch(name: str) -> Path:
    """The folder of a published run in the cache, which is downloaded once.

    Without a network, or with HF_HUB_OFFLINE=1, it is the one that was downloaded last.

    Arguments:
        name: "hf:OWNER/NAME", or "hf:OWNER/NAME@REVISION" for a branch, a tag or a commit.

    Raises:
        UserError: there is no such repository or revision, it holds no atlas, there is neither a
            network nor a copy in the cache, or huggingface_hub is not installed.
    """
    hub, (repository, revision) = _hub(), _split(name)
    with _hub_errors(name):
        # A repository may hold many gigabytes of something else: one file shows whether it does.
        hub.hf_hub_download(repository, "map.safetensors", revision=revision or None)
        wanted = [*COPIED, *WRITTEN]
        place = hub.snapshot_download(repository, revision=revision or None, allow_patterns=wanted)
        return Path(place)


def _split(name: str) -> tuple[str, str]:
    """OWNER/NAME, and the revision or ""."""
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    require(
        name.startswith(PREFIX) and repository.count("/") == 1 and not name.endswith("@"),
        f"'{name}' is no repository of the Hugging Face hub; write hf:OWNER/NAME",
    )
    return repository, revision


def _with_source(config: Config, source: str) -> Config:
    """The configuration with another place of its images."""
    return replace(config, data=replace(config.data, source=source))


def _results(path: Path) -> dict[str, Any]:
    """The numbers of an earlier command; none where it did not run."""
    return json.loads(path.read_text()) if path.is_file() else {}


def _hub() -> Any:
    """The package huggingface_hub."""
    require(
        importlib.util.find_spec("huggingface_hub") is not None,
        "the Hugging Face hub needs the package huggingface_hub, which is not installed; "
        "pip install 'latent-atlas[huggingface]'",
    )
    importlib.import_module("huggingface_hub.utils").disable_progress_bars()
    return importlib.import_module("huggingface_hub")


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Tell what the hub refuses in one sentence.

    Raises:
        UserError: the hub refused, or was not reached.
    """
    errors: Any = importlib.import_module("huggingface_hub.errors")
    try:
        yield
    except errors.HFValidationError:
        sentence = f"'{name}' is no name of the Hugging Face hub; write hf:OWNER/NAME"
    except errors.RevisionNotFoundError:
        sentence = f"'{name}' has no such revision; leave it out for the newest"
    except errors.RepositoryNotFoundError:
        sentence = (
            f"the Hugging Face hub has no '{name}' that you may read; check the name, or log in "
            "with `hf auth login`"
        )
    except errors.LocalEntryNotFoundError:
        sentence = (
            f"the Hugging Face hub is not reached, and '{name}' was not downloaded before; check "
            "the network, or give a run folder"
        )
    except errors.EntryNotFoundError:
        sentence = f"'{name}' holds no atlas (no map.safetensors); choose another repository"
    except UserError:
        raise
    # The library raises many types, from its own to those of HTTP clients.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200]
        sentence = (
            f"the Hugging Face hub does not answer for '{name}' as it should ({reason}); check the "
            "network and your rights, `hf auth whoami` tells who you are there"
        )
    else:
        return
    raise UserError(sentence) from None
