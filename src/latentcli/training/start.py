"""Preparation of a run: principal components, the choice of augmentation, and weights of a model to start from."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from latentcli.config import ModelConfig
from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.events import Note, Progress
from latentcli.model.gray_levels import SMALLEST_SIGMA
from latentcli.model.linear import LinearPath
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.pca import Pca, fit_pca
from latentcli.model.vae import VAE
from latentcli.training import schedule
from latentcli.training.augment import farthest, shifted
from latentcli.training.plan import Plan

_PRODUCTS = 6e10  # multiplications per pass of the PCA: 25,000 colour images of 64 x 64 pixels with 192 components
_MOST_IMAGES = 20_000  # images that the PCA is fitted to
_PER_COMPONENT = 4  # images per principal component at least, if the source has enough
_LEFT_OUT = 16  # every 16th image is left out of the PCA and measures its error
_COMPARED = 2000  # images by which mirroring and moving are decided on
_TOO_FEW = 40  # with fewer images nothing is mirrored or moved unless asked for
# PCA error of mirrored or moved images over that of the originals, below which augmentation is used. Measured: mirrored
# faces 1.04, sprites 1.1, emoji 1.6, avatars 1,800; moved faces 1.2, emoji 2.2, sprites 2.4, avatars 7,500.
_ALIKE_MIRRORED = 1.2
_ALIKE_MOVED = 1.4
# Prefixes of layers that read or write latents, or that are numbered from the coarsest level, which size changes.
_OF_LATENTS = ("linear.", "encoder.mean.", "encoder.logvar.", "decoder.dense.", "decoder.ups.", "decoder.last.")


@dataclass(frozen=True, slots=True)
class Start:
    """Augmentation, principal components and initial weights that a new run begins with."""

    flip: bool
    augment: bool
    components: Pca | None = None  # for the linear path, the probabilistic PCA beside the convolutions
    weights: Mapping[str, Tensor] = field(default_factory=dict)  # from the model to start from

    @torch.no_grad()
    def apply(self, vae: VAE, beta: float) -> None:
        """Copy components, shrunk the more the higher `beta` is, and weights into an untrained network, in place."""
        if self.components and vae.linear:
            vae.linear.fit(self.components, beta)
        vae.load_state_dict({**vae.state_dict(), **self.weights})


def find(plan: Plan, images: Dataset) -> Generator[Note | Progress, None, Start]:
    """Fit principal components to the training images, decide on augmentation, and read the model to start from."""
    model, config = plan.choice.model, plan.choice.config
    flip, augment = config.flip, config.augment
    weights: Mapping[str, Tensor] = {}
    if plan.choice.start_from:
        other = load_model(plan.choice.start_from)
        weights, share = _that_fit(other, model)
        yield Note(f"starting from {other.name}: {share:.0%} of the weights are taken over")
    is_fitted = model.linear and "linear.basis" not in weights
    if flip is not None and augment is not None and not is_fitted:
        return Start(flip, augment, weights=weights)
    yield Progress("fitting principal components", 0, 1)
    path = LinearPath(model)
    if flip is None or augment is None:
        are_alike = _comparison(path, images.spread(_COMPARED), model.latent_dim)
        if flip is None:
            flip = are_alike(lambda x: x.flip(2), _ALIKE_MIRRORED)
            yield _note(flip, len(images), "mirrored", "half of the images are mirrored", "flip")
        if augment is None:
            augment = are_alike(partial(_moved, shift=config.shift), _ALIKE_MOVED)
            yield _note(augment, len(images), "moved", "images are moved a little", "augment")
    if not is_fitted:
        return Start(flip, augment, weights=weights)
    most = max(_PER_COMPONENT * model.latent_dim, int(_PRODUCTS / (len(path.mean) * model.latent_dim)))
    fitted = images.spread(min(_MOST_IMAGES, most))
    return Start(flip, augment, fit(path, fitted, model.latent_dim, flip), weights)


def _note(chosen: bool, images: int, changed: str, done: str, option: str) -> Note:
    """Message whether training images are `changed` ("mirrored", "moved"), why, and which `option` overrides this."""
    if images < _TOO_FEW:
        why = f"they are too few to tell whether {changed} ones look the same"
        return Note(f"images are not {changed}: {why} (`{option}` does it)")
    if chosen:
        return Note(f"{done} at random: they look the same so (`{option}=False` leaves it)")
    return Note(f"images are not {changed}: {changed} ones look different (`{option}` does it all the same)")


def fit(path: LinearPath, images: Dataset, k: int, mirrored: bool) -> Pca:
    """Probabilistic PCA with `k` components, fitted without every 16th image, which serves to measure the noise."""
    fitted, left_out = _split(images)
    components = fit_pca(lambda: _seen(path, fitted, mirrored), k)
    return replace(components, noise=max(_error(components, _seen(path, left_out, mirrored)), SMALLEST_SIGMA**2))


def _comparison(path: LinearPath, images: Dataset, k: int) -> Callable[[Callable[[Tensor], Tensor], float], bool]:
    """Function (change, times) -> whether PCA's error of `change(images)` is below `times` x the error of the images.

    `change` maps uint8 images (n, height, width, channels). With fewer than _TOO_FEW images the result is False.
    """
    if len(images) < _TOO_FEW:
        return lambda change, times: False
    fitted, left_out = _split(images)
    components = fit_pca(lambda: _seen(path, fitted, False), min(k, len(fitted) // 4))

    def error(change: Callable[[Tensor], Tensor]) -> float:
        return _error(components, (path.seen(as_float_tensor(change(x))) for x in left_out.batches()))

    unchanged = error(lambda x: x)
    return lambda change, times: error(change) < times * unchanged


def _moved(images: Tensor, shift: float) -> Tensor:
    """Images (n, height, width, channels), each moved at random by up to the share `shift` of its height and width."""
    return shifted(images, schedule.shifts(0, 0, len(images), farthest(shift, images)))


def _split(images: Dataset) -> tuple[Dataset, Dataset]:
    """Two parts of `images`: those to fit the PCA to, and every 16th, on which the error of the PCA is measured."""
    is_left_out = torch.arange(len(images)) % _LEFT_OUT == 0
    return Dataset(images.pixels, images.rows[~is_left_out]), Dataset(images.pixels, images.rows[is_left_out])


def _seen(path: LinearPath, images: Dataset, mirrored: bool) -> Iterator[Tensor]:
    """Batches of flattened images (n, dimensions) for the linear path, every second image mirrored if `mirrored`."""
    for x in images.floats():
        if mirrored:
            x[1::2] = x[1::2].flip(3)
        yield path.seen(x)


def _error(pca: Pca, batches: Iterator[Tensor]) -> float:
    """Mean variance of images, batches of (n, dimensions), per direction orthogonal to the principal components."""
    return float(torch.cat([pca.outside(batch) for batch in batches]).double().mean())


def _that_fit(other: LoadedModel, model: ModelConfig) -> tuple[dict[str, Tensor], float]:
    """Tensors of `other`, by name, that fit the network of `model`, and the share of that network's values covered.

    The layers that read and write pixels are converted to the channels of `model`. If size or channels differ, the
    linear path, which is fitted anew, and the layers that read or write its latents are left out.
    """
    wanted = {name: tensor.shape for name, tensor in VAE(model).state_dict().items()}
    found = {name: torch.from_numpy(np.array(array)) for name, array in other.weights.items() if name in wanted}
    same_shape = (other.config.width, other.config.height) == (model.width, model.height)
    if other.config.channels != model.channels:
        _convert(found, other.config, model)
        same_shape = same_shape and not model.linear
    taken = {name: tensor for name, tensor in found.items() if tensor.shape == wanted[name] and name != "sigma"}
    if not same_shape or (model.linear and "linear.basis" not in taken):
        taken = {name: tensor for name, tensor in taken.items() if not name.startswith(_OF_LATENTS)}
    numbers = sum(tensor.numel() for tensor in taken.values())
    return taken, numbers / sum(shape.numel() for shape in wanted.values())


def _convert(found: dict[str, Tensor], other: ModelConfig, model: ModelConfig) -> None:
    """Convert the layers in `found` that read or write pixels to the channels of `model`, in place."""
    for name in found.keys() & {"encoder.downs.0.0.weight", "decoder.downs.0.0.weight"}:
        found[name] = _channels(found[name].transpose(0, 1), other, model, reads=True).transpose(0, 1)
    for name in found.keys() & {"decoder.last.0.weight", "decoder.last.0.bias"}:
        by_channel = found[name].view(other.channels, -1, *found[name].shape[1:])
        found[name] = _channels(by_channel, other, model, reads=False).flatten(0, 1)


def _channels(weight: Tensor, other: ModelConfig, model: ModelConfig, reads: bool) -> Tensor:
    """Weights (channels, ...) of a layer of `other` for the channels of `model`; `reads` is True for an input layer.

    A gray input weight is the sum of the three colours', a gray output weight their mean; a new alpha channel gets 0.
    """
    colours = weight[: 3 if other.has_colour else 1]
    if other.has_colour and not model.has_colour:
        colours = colours.sum(0, keepdim=True) if reads else colours.mean(0, keepdim=True)
    elif model.has_colour and not other.has_colour:
        colours = colours.repeat(3, *[1] * (weight.dim() - 1)) / (3 if reads else 1)
    if not model.has_alpha:
        return colours
    return torch.cat([colours, weight[-1:] if other.has_alpha else torch.zeros_like(colours[:1])])
