"""Start of a run: principal components of the images, whether they may be mirrored, weights of another model."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.config import ModelConfig
from latentcli.data.dataset import Dataset
from latentcli.evaluation import baselines
from latentcli.evaluation.baselines import Pca
from latentcli.events import Note
from latentcli.model.likelihood import SMALLEST_SIGMA
from latentcli.model.linear import LinearPath
from latentcli.model.modelfile import load_model
from latentcli.model.vae import VAE
from latentcli.training.plan import Plan

_PRODUCTS = 6e10  # per pass of the fit: 20,000 images of 64 x 64 pixels, a few seconds
_IMAGES = (1000, 20_000)  # that components are fitted to, the least and the most where there are so many
_LEFT_OUT = 16  # one in so many images is not fitted to and tells how well the components describe others
_TRIED = 2000  # images that tell whether they may be mirrored
_ALIKE = 1.2  # times the error of images: that of mirrored ones, up to which they look the same
_OF_LATENTS = ("encoder.mean.", "encoder.logvar.", "decoder.dense.", "encoder.hidden.", "decoder.hidden.")


@dataclass(frozen=True, slots=True)
class Start:
    """What a run begins with."""

    flip: bool
    components: Pca | None = None  # for the linear path
    weights: Mapping[str, Tensor] | None = None  # of another model, those that fit

    @torch.no_grad()
    def apply(self, vae: VAE, beta: float) -> None:
        """Put it into an untrained network; `beta` is the weight of the KL."""
        if self.components and vae.linear:
            vae.linear.fit(self.components, beta)
        if self.weights:
            vae.load_state_dict({**vae.state_dict(), **self.weights})


def find(plan: Plan, images: Dataset) -> Generator[Note, None, Start]:
    """Fit what is fitted before the first step, and read the model to start from."""
    model, flip = plan.choice.model, plan.choice.config.flip
    weights = yield from _of_other_model(plan) if plan.choice.start_from else _nothing()
    if not model.linear:
        return Start(bool(flip is None or flip), weights=weights)
    path = LinearPath(model)
    if flip is None:
        flip = _may_be_mirrored(path, images.spread(_TRIED), model.latent_dim)
        yield Note(
            "half of the images are mirrored at random: they look the same so (--no-flip leaves it)"
            if flip
            else "images are not mirrored: mirrored ones look different (--flip does it all the same)"
        )
    if weights and "linear.basis" in weights:
        return Start(flip, weights=weights)
    features = len(path.mean)
    most = min(_IMAGES[1], max(_IMAGES[0], int(_PRODUCTS / (features * model.latent_dim))))
    some = images.spread(most)
    yield Note(f"fitting {min(model.latent_dim, len(some))} principal components to {len(some)} images")
    components = fit(path, some, model.latent_dim, flip)
    return Start(flip, components, weights)


def fit(path: LinearPath, images: Dataset, k: int, mirrored: bool) -> Pca:
    """Probabilistic PCA whose noise is the error on images that it is not fitted to."""
    fitted, left_out = _parted(images)
    found = baselines.fit(lambda: _seen(path, fitted, mirrored), k)
    return replace(found, noise=max(_error(found, _seen(path, left_out, mirrored)), SMALLEST_SIGMA**2))


def _may_be_mirrored(path: LinearPath, images: Dataset, k: int) -> bool:
    """Whether components of the images describe mirrored ones about as well."""
    fitted, left_out = _parted(images)
    found = baselines.fit(lambda: _seen(path, fitted, False), k)
    images_error = _error(found, map(path.seen, left_out.floats()))
    mirrored_error = _error(found, (path.seen(x.flip(3)) for x in left_out.floats()))
    return mirrored_error < _ALIKE * images_error


def _parted(images: Dataset) -> tuple[Dataset, Dataset]:
    """Images to fit to, and those that are left out."""
    is_left_out = torch.arange(len(images)) % _LEFT_OUT == 0
    return Dataset(images.pixels, images.rows[~is_left_out]), Dataset(images.pixels, images.rows[is_left_out])


def _seen(path: LinearPath, images: Dataset, mirrored: bool) -> Iterator[Tensor]:
    """As the linear path sees them, every other one mirrored."""
    for x in images.floats():
        if mirrored:
            x[1::2] = x[1::2].flip(3)
        yield path.seen(x)


def _error(found: Pca, batches: Iterator[Tensor]) -> float:
    """Variance of what the components leave over, in each other direction."""
    total, count = 0.0, 0
    for batch in batches:
        centred = batch - found.mean
        total += float(centred.square().sum() - (centred @ found.components).square().sum())
        count += len(batch)
    dimensions, k = found.components.shape
    return total / (count * max(1, dimensions - k))


def _nothing() -> Generator[Note, None, None]:
    return None
    yield


def _of_other_model(plan: Plan) -> Generator[Note, None, Mapping[str, Tensor]]:
    """The tensors of another model that fit, the first and last layers made to fit other channels."""
    choice = plan.choice
    assert choice.start_from
    other = load_model(choice.start_from)
    wanted = {name: tensor.shape for name, tensor in VAE(choice.model).state_dict().items()}
    found = {name: torch.from_numpy(np.array(array)) for name, array in other.weights.items() if name in wanted}
    found = _of_this_shape(found, other.config, choice.model)
    taken = {name: tensor for name, tensor in found.items() if tensor.shape == wanted[name] and name != "sigma"}
    if choice.model.linear and "linear.basis" not in taken:  # latents mean something else then
        taken = {name: tensor for name, tensor in taken.items() if not name.startswith(("linear.", *_OF_LATENTS))}
    numbers = sum(tensor.numel() for tensor in taken.values())
    share = numbers / sum(shape.numel() for shape in wanted.values())
    yield Note(f"starting from {other.name}: {share:.0%} of the weights are taken over")
    return taken


def _of_this_shape(found: dict[str, Tensor], other: ModelConfig, model: ModelConfig) -> dict[str, Tensor]:
    """Resize the linear path, and convert the layers that read and write pixels to other channels."""
    if other.channels != model.channels:
        for name in ("encoder.downs.0.0.weight", "decoder.downs.0.0.weight"):
            if name in found:
                found[name] = _channels(found[name].transpose(0, 1), other, model, reads=True).transpose(0, 1)
        for name in ("decoder.last.0.weight", "decoder.last.0.bias"):
            if name in found:
                by_channel = found[name].view(other.channels, -1, *found[name].shape[1:])
                found[name] = _channels(by_channel, other, model, reads=False).flatten(0, 1)
        return {name: tensor for name, tensor in found.items() if not name.startswith("linear.")}
    if other.linear and model.linear and other.latent_dim == model.latent_dim:
        there, here = LinearPath(other).shape, LinearPath(model).shape
        for name in ("linear.mean", "linear.basis") if there != here else ():
            pictures = found[name].view(-1, *there).permute(0, 3, 1, 2)
            resized = F.interpolate(pictures, size=here[:2], mode="bilinear", align_corners=False, antialias=True)
            found[name] = resized.permute(0, 2, 3, 1).flatten(1).view(*found[name].shape[:-1], -1)
    return found


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
