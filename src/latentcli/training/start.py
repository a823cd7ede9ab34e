"""Start of a run: principal components, whether images may be mirrored and moved, weights of another model."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from latentcli.config import ModelConfig
from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.events import Note, Progress
from latentcli.model.likelihood import SMALLEST_SIGMA
from latentcli.model.linear import LinearPath
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.pca import Pca, fit_pca
from latentcli.model.vae import VAE
from latentcli.training import schedule
from latentcli.training.augment import farthest, shifted
from latentcli.training.plan import Plan

_PRODUCTS = 6e10  # per pass of the fit: about 25,000 images of 64 x 64 pixels in colour with 192 components
_MOST_IMAGES = 20_000  # that components are fitted to
_PER_COMPONENT = 4  # images at least, where there are so many
_LEFT_OUT = 16  # one in so many images is not fitted to and tells how well the components describe others
_COMPARED = 2000  # images that tell whether they may be mirrored and moved
_TOO_FEW = 40  # images to tell
# Times the error of images, below which changed ones look the same. Mirrored faces have 1.04, sprites 1.1, emoji 1.6,
# avatars 1,800; moved faces 1.2, emoji 2.2, sprites 2.4, avatars 7,500.
_ALIKE_MIRRORED = 1.2
_ALIKE_MOVED = 1.4
# Layers that read or write latents, or whose place is counted from the coarsest level.
_OF_LATENTS = ("linear.", "encoder.mean.", "encoder.logvar.", "decoder.dense.", "decoder.ups.", "decoder.last.")


@dataclass(frozen=True, slots=True)
class Start:
    """Decisions and tensors that a run begins with."""

    flip: bool
    augment: bool
    components: Pca | None = None  # for the linear path
    weights: Mapping[str, Tensor] = field(default_factory=dict)  # of another model, those that fit

    @torch.no_grad()
    def apply(self, vae: VAE, beta: float) -> None:
        """Put components and weights into an untrained network; `beta` is the weight of the KL."""
        if self.components and vae.linear:
            vae.linear.fit(self.components, beta)
        vae.load_state_dict({**vae.state_dict(), **self.weights})


def find(plan: Plan, images: Dataset) -> Generator[Note | Progress, None, Start]:
    """Fit the components, decide on augmentation, and read the model to start from."""
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
            flip = are_alike(_mirrored, _ALIKE_MIRRORED)
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
    """Note that says whether images are changed, and why; `changed` is "mirrored" or "moved"."""
    if images < _TOO_FEW:
        why = f"they are too few to tell whether {changed} ones look the same"
        return Note(f"images are not {changed}: {why} (`{option}` does it)")
    if chosen:
        return Note(f"{done} at random: they look the same so (`{option}=False` leaves it)")
    return Note(f"images are not {changed}: {changed} ones look different (`{option}` does it all the same)")


def fit(path: LinearPath, images: Dataset, k: int, mirrored: bool) -> Pca:
    """Probabilistic PCA, with the error on images that were left out of the fit as its noise."""
    fitted, left_out = _split(images)
    components = fit_pca(lambda: _seen(path, fitted, mirrored), k)
    return replace(components, noise=max(_error(components, _seen(path, left_out, mirrored)), SMALLEST_SIGMA**2))


def _comparison(path: LinearPath, images: Dataset, k: int) -> Callable[[Callable[[Tensor], Tensor], float], bool]:
    """A test whether components of images describe changed ones about as well.

    It takes the change of uint8 images (n, height, width, channels), and how many times the error may be. Too few
    images are never alike.
    """
    if len(images) < _TOO_FEW:
        return lambda change, times: False
    fitted, left_out = _split(images)
    components = fit_pca(lambda: _seen(path, fitted, False), min(k, len(fitted) // 4))

    def error(change: Callable[[Tensor], Tensor]) -> float:
        return _error(components, (path.seen(as_float_tensor(change(x))) for x in left_out.batches()))

    unchanged = error(lambda x: x)
    return lambda change, times: error(change) < times * unchanged


def _mirrored(images: Tensor) -> Tensor:
    return images.flip(2)


def _moved(images: Tensor, shift: float) -> Tensor:
    """Images moved by up to `shift` of the side."""
    return shifted(images, schedule.shifts(0, 0, len(images), farthest(shift, images)))


def _split(images: Dataset) -> tuple[Dataset, Dataset]:
    """Images to fit to, and the others."""
    is_left_out = torch.arange(len(images)) % _LEFT_OUT == 0
    return Dataset(images.pixels, images.rows[~is_left_out]), Dataset(images.pixels, images.rows[is_left_out])


def _seen(path: LinearPath, images: Dataset, mirrored: bool) -> Iterator[Tensor]:
    """Batches as the linear path sees them, every other image mirrored where that is wanted."""
    for x in images.floats():
        if mirrored:
            x[1::2] = x[1::2].flip(3)
        yield path.seen(x)


def _error(pca: Pca, batches: Iterator[Tensor]) -> float:
    """Variance of batches (n, dimensions) along each direction that the components leave over."""
    total, count = 0.0, 0
    for batch in batches:
        centred = batch - pca.mean
        total += float(centred.square().sum() - (centred @ pca.components).square().sum())
        count += len(batch)
    dimensions, k = pca.components.shape
    return total / (count * max(1, dimensions - k))


def _that_fit(other: LoadedModel, model: ModelConfig) -> tuple[dict[str, Tensor], float]:
    """The tensors of another model that fit, and their share of the numbers of the network.

    The layers that read and write pixels are converted to other channels. The linear path and what belongs to its
    latents are left out where size or channels differ: they are pictures, and fitted anew.
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
    """Make the layers that read and write pixels fit the channels of a model."""
    for name in found.keys() & {"encoder.downs.0.0.weight", "decoder.downs.0.0.weight"}:
        found[name] = _channels(found[name].transpose(0, 1), other, model, reads=True).transpose(0, 1)
    for name in found.keys() & {"decoder.last.0.weight", "decoder.last.0.bias"}:
        by_channel = found[name].view(other.channels, -1, *found[name].shape[1:])
        found[name] = _channels(by_channel, other, model, reads=False).flatten(0, 1)


def _channels(weight: Tensor, other: ModelConfig, model: ModelConfig, reads: bool) -> Tensor:
    """Weights by channel, for other channels: gray is read as the sum of the colours and written as their mean."""
    colours = weight[: 3 if other.has_colour else 1]
    if other.has_colour and not model.has_colour:
        colours = colours.sum(0, keepdim=True) if reads else colours.mean(0, keepdim=True)
    elif model.has_colour and not other.has_colour:
        colours = colours.repeat(3, *[1] * (weight.dim() - 1)) / (3 if reads else 1)
    if not model.has_alpha:
        return colours
    return torch.cat([colours, weight[-1:] if other.has_alpha else torch.zeros_like(colours[:1])])
