"""Learn a latent space from a folder of pictures; sample it, walk through it, edit photos with concept vectors.

The names below are loaded when first used (PEP 562), so that `import latentcli` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentcli.concepts.vector import ConceptVector as ConceptVector
    from latentcli.config import ModelConfig as ModelConfig
    from latentcli.errors import LatentCLIError as LatentCLIError
    from latentcli.latents import Latents as Latents
    from latentcli.model.modelfile import LoadedModel as LoadedModel
    from latentcli.model.modelfile import load_model as load_model
    from latentcli.model.vae import VAE as VAE
    from latentcli.model.vae import Posterior as Posterior

__version__ = "0.1.0"

_HOMES = {
    "ConceptVector": "latentcli.concepts.vector",
    "LatentCLIError": "latentcli.errors",
    "Latents": "latentcli.latents",
    "LoadedModel": "latentcli.model.modelfile",
    "ModelConfig": "latentcli.config",
    "Posterior": "latentcli.model.vae",
    "VAE": "latentcli.model.vae",
    "load_model": "latentcli.model.modelfile",
}
__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - the names are the keys above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
