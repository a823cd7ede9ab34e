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
_COMPARED = 4  # samples on which ONNX Runtime and PyTorch are compared
_IMAGES_AGREE = 0.5 / 255  # largest difference of pixels in 0 to 1: half a gray level
_LATENTS_AGREE = 1e-4  # largest difference of latents, over the largest number in the latents


def export(entry: ModelEntry, folder: Path, force: bool) -> Iterator[Event]:
    """Write `encoder.onnx` and `decoder.onnx`, after a check that ONNX Runtime and PyTorch compute the same.

    Raises OutputExists if one of the files exists, unless forced; LatentCLIError if the check fails.
    """
    for name in (ENCODER, DECODER):
        if not force and (folder / name).exists():
            raise OutputExists(f"{folder / name} exists; add `force` to replace it, or give another `onnx` folder")
    model = load_model(entry.path, "torch")
    files = {
        ENCODER: graphs.encoder(model.config, model.weights),
        DECODER: graphs.decoder(model.config, model.weights),
    }
    _check(model, files)
    check_writable_folder(folder)
    for name, content in files.items():
        write_whole(folder / name, content)
        yield Wrote(folder / name)


def _check(model: LoadedModel, files: dict[str, bytes]) -> None:
    """Raise LatentCLIError if the ONNX files compute other images or latents than the model in PyTorch."""
    z = model.prior.sample(range(_COMPARED), 1.0)
    images = model.decode(z)
    (decoded,) = open_session(files[DECODER]).run(None, {"z": z})
    (encoded,) = open_session(files[ENCODER]).run(None, {"images": images})
    means = model.encode_float(images)
    latent_error = float(np.abs(encoded - means).max() / max(np.abs(means).max(), 1e-6))
    image_error = float(np.abs(decoded - images).max())
    if not (latent_error <= _LATENTS_AGREE and image_error <= _IMAGES_AGREE):  # also where they are NaN
        raise LatentCLIError(
            f"the exported network differs from the model (latents by {latent_error:.1e} of their range, images by "
            f"{255 * image_error:.2f} gray levels); nothing was written"
        )
