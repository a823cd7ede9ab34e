"""Learn a latent space from a folder of pictures; sample it, walk through it, edit photos with concept vectors.

Modules of the public names are imported when a name is first used (PEP 562), so that `import latentcli` stays fast.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentcli.api import Model as Model
    from latentcli.api import load as load
    from latentcli.api import load_model as load_model
    from latentcli.api import train as train
    from latentcli.concepts.vector import ConceptVector as ConceptVector
    from latentcli.config import ModelConfig as ModelConfig
    from latentcli.errors import ConfigError as ConfigError
    from latentcli.errors import FileFormatError as FileFormatError
    from latentcli.errors import ImageError as ImageError
    from latentcli.errors import LatentCLIError as LatentCLIError
    from latentcli.errors import ModelMismatch as ModelMismatch
    from latentcli.errors import OutputExists as OutputExists
    from latentcli.figures.pictures import Sheet as Sheet
    from latentcli.model.modelfile import LoadedModel as LoadedModel
    from latentcli.model.vae import VAE as VAE
    from latentcli.model.vae import Posterior as Posterior
    from latentcli.storage.latents import Latents as Latents

__version__ = "0.1.0"

# ONNX Runtime (1.29 and newer) reads this variable at its import. Where the variable is not set, ONNX Runtime keeps a
# device id in the home folder and sends data about the machine to Microsoft. Child processes inherit the variable.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_NAMES = {  # public names by the module that defines them
    "latentcli.api": ("Model", "load", "load_model", "train"),
    "latentcli.concepts.vector": ("ConceptVector",),
    "latentcli.config": ("ModelConfig",),
    "latentcli.errors": (
        "ConfigError", "FileFormatError", "ImageError", "LatentCLIError", "ModelMismatch", "OutputExists",
    ),
    "latentcli.storage.latents": ("Latents",),
    "latentcli.model.modelfile": ("LoadedModel",),
    "latentcli.model.vae": ("VAE", "Posterior"),
    "latentcli.figures.pictures": ("Sheet",),
}  # fmt: skip
_HOMES = {name: home for home, names in _NAMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - the names are keys of _HOMES


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
