"""Encoder and decoder of a model as ONNX files, for use in other programs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latentcli.errors import LatentCLIError, OutputExists
from latentcli.events import Event, Wrote
from latentcli.model import graphs
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.runtime import open_session
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import check_writable_folder, write_whole

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
_COMPARED = 4  # images and latents
_IMAGES_AGREE = 0.5 / 255  # half a gray level
_LATENTS_AGREE = 1e-4  # of the largest number


def export(entry: ModelEntry, folder: Path, force: bool) -> Iterator[Event]:
    """Write `encoder.onnx` and `decoder.onnx` once ONNX Runtime computes with them what PyTorch computes.

    Raises OutputExists when one of them is there and `force` is not given.
    """
    for name in (ENCODER, DECODER):
        if (folder / name).exists() and not force:
            raise OutputExists(f"{folder / name} exists; add `force` to replace it, or give another `onnx` folder")
    model = load_model(entry.path, "torch")
    files = {
        ENCODER: graphs.encoder(model.config, model.weights),
        DECODER: graphs.decoder(model.config, model.weights),
    }
    _check(model, files)
    check_writable_folder(folder)
    return _written(folder, files)


def _written(folder: Path, files: dict[str, bytes]) -> Iterator[Event]:
    for name, content in files.items():
        write_whole(folder / name, content)
        yield Wrote(folder / name)


def _check(model: LoadedModel, files: dict[str, bytes]) -> None:
    """Raises LatentCLIError where the graphs give other images or latents than the network."""
    z = model.prior.sample(range(_COMPARED), 1.0)
    images = model.decode(z)
    found = {}
    for name, feed in ((DECODER, {"z": z}), (ENCODER, {"images": images})):
        (found[name],) = open_session(files[name]).run(None, feed)
    expected = model.encode_float(images)
    off = float(np.abs(found[ENCODER] - expected).max() / max(np.abs(expected).max(), 1e-6))
    levels = float(np.abs(found[DECODER] - images).max())
    if not (off <= _LATENTS_AGREE and levels <= _IMAGES_AGREE):  # also where they are NaN
        raise LatentCLIError(
            f"the exported network differs from the model (latents by {off:.1e} of their range, images by "
            f"{255 * levels:.2f} gray levels); nothing was written"
        )
