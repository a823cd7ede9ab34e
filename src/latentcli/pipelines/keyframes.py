"""What a text on the command line stands for in latent space: an image, a latents file, one of its names, a sample."""

from pathlib import Path

from torch import Tensor

from latentcli.errors import UsageError
from latentcli.images import read_image
from latentcli.latents import Latents
from latentcli.model.modelfile import LoadedModel
from latentcli.pipelines.encoding import encode_images


def keyframes(model: LoadedModel, text: str) -> tuple[Tensor, tuple[str, ...]]:
    """One or more latents (n, latent_dim), and a name for each.

    Raises UsageError for a bad seed, ImageError, FileFormatError or ModelMismatch for what cannot be read.
    """
    if text.startswith("seed:"):
        number = text.removeprefix("seed:")
        if not number.isdecimal() or int(number) >= 2**63:
            raise UsageError(f"{text!r} is no seed; write seed:7")
        return model.prior.sample([int(number)], model.prior.temperature), (f"seed-{number}",)
    path, _, name = text.partition("#")
    if path.endswith(".safetensors"):
        latents = Latents.load(Path(path))
        latents.require_model(model.model_id, path, model.name, model.config.latent_dim)
        return (latents.row(name)[None], (name,)) if name else (latents.z, latents.names)
    return encode_images(model, read_image(Path(text), model.config)[None]), (Path(text).name,)
