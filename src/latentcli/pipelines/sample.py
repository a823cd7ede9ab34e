"""New images from the prior."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from latentcli.concepts.edit import EditRequest, Strength, move
from latentcli.concepts.vector import ConceptVector
from latentcli.config import PriorName
from latentcli.defaults import MOST_ON_SHEET, SPREAD
from latentcli.errors import ConfigError, UsageError
from latentcli.events import Event, Progress, Wrote
from latentcli.figures.sheet import Captions, Look
from latentcli.imaging.images import check_writable, to_pictures, write_picture
from latentcli.model.flow import FlowPrior
from latentcli.model.modelfile import LoadedModel, batches, open_model
from latentcli.model.prior import Prior, StandardPrior
from latentcli.pipelines.inputs import keyframes, seeds_text, short_name
from latentcli.pipelines.outputs import check_folder, write_decoded
from latentcli.pipelines.vectors import load_vectors
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import chosen_name, output_file
from latentcli.storage.names import VECTOR_SUFFIX

_MOST_GUIDANCE = 10.0

Drawn = Callable[[Sequence[int]], np.ndarray]  # latents of seeds, one a seed: (n, latent_dim)


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Which samples, from where."""

    seeds: tuple[int, ...]  # one image each
    prior: PriorName | None = None  # the fitted one where the model has it
    temperature: float | None = None  # the prior's own by default
    guidance: float | None = None  # of a flow; its own by default
    like: tuple[str, ...] = ()  # parts of the training images to draw from: `cats`, `smiling=yes`
    near: str | None = None  # a keyframe that samples are to be variations of
    spread: float = SPREAD  # of those, 0 to 1
    moves: tuple[Strength, ...] = ()  # concept vectors that samples are moved along
    look: Look = field(default_factory=Look)

    @property
    def columns(self) -> int:
        """Columns of the sheet; a square one by default."""
        return self.look.columns or math.ceil(math.sqrt(len(self.seeds)))

    @property
    def stem(self) -> str:
        """Of the name of the file or folder."""
        parts = ["samples", *self.like, *([] if self.near is None else [f"near-{short_name(self.near)}"])]
        parts += [Path(move.name).name.removesuffix(VECTOR_SUFFIX) + move.tag() for move in self.moves]
        return "-".join([*(re.sub(r"[^\w.+]+", "-", part) for part in parts), seeds_text(self.seeds)])


def sample(entry: ModelEntry, request: SampleRequest, each: bool, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw one image per seed: a contact sheet, or with `each` one file per seed in a folder.

    Raises ConfigError for a prior the model does not have, OutputExists when the sheet is taken.
    """
    if not each and len(request.seeds) > MOST_ON_SHEET:
        raise UsageError(f"a sheet takes up to {MOST_ON_SHEET:,} images, got {len(request.seeds):,}; give `each`")
    look = request.look
    if each and (look.columns or look.labels or look.title):
        raise UsageError("`columns`, `labels` and `title` are of a sheet; leave them out with `each`")
    sampler = _Sampler.of(entry, open_model(entry), request)
    if each:
        check_folder(output, len(request.seeds))
        return _each(sampler, output or chosen_name(Path(request.stem), force, is_folder=True), keep=not force)
    target = check_writable(output_file(output, Path(f"{request.stem}.png"), force))
    request.look.check(len(request.seeds), request.columns, (sampler.model.config.width, sampler.model.config.height))
    return _sheet(sampler, target)


@dataclass(frozen=True)
class _Sampler:
    """Draws what a request asks for, a few images at a time."""

    model: LoadedModel
    request: SampleRequest
    drawn: Drawn
    vectors: list[ConceptVector]

    @classmethod
    def of(cls, entry: ModelEntry, model: LoadedModel, request: SampleRequest) -> Self:
        """Raises what `drawing` and `load_vectors` do."""
        near = None if request.near is None else keyframes(model, request.near)[0]
        vectors = load_vectors(entry, model, EditRequest(vectors=request.moves)) if request.moves else []
        return cls(model, request, drawing(model, request, near), vectors)

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Seeds and their latents."""
        for seeds in batches(self.request.seeds):
            yield seeds, move(self.drawn(seeds), self.vectors, self.request.moves)


def _each(sampler: _Sampler, folder: Path, keep: bool) -> Iterator[Event]:
    some = ((z, [folder / f"seed-{seed:05d}.png" for seed in seeds]) for seeds, z in sampler)
    return write_decoded(sampler.model, some, len(sampler.request.seeds), keep, sampler.request.look.scale)


def drawing(model: LoadedModel, request: SampleRequest, near: np.ndarray | None = None) -> Drawn:
    """What draws the samples of a request, or variations of `near` (1, latent_dim).

    Raises ConfigError for what the model's prior cannot do, UsageError for parts that it does not know.
    """
    prior = _choose_prior(model, request)
    if near is not None:
        if len(near) != 1:
            raise UsageError(f"`near` takes one image or latent, got {len(near)}; name one, like FILE#name")
        if not 0 <= request.spread <= 1:
            raise ConfigError(f"`spread` must be 0 to 1, got {request.spread:g}")
        return lambda seeds: prior.vary(near[0], seeds, request.spread)
    temperature = prior.temperature if request.temperature is None else request.temperature
    if not 0 <= temperature <= 10:
        raise ConfigError(f"`temperature` must be 0 to 10, got {temperature:g}")
    return lambda seeds: prior.sample(seeds, temperature)


def _choose_prior(model: LoadedModel, request: SampleRequest) -> Prior:
    if request.prior == "fitted" and isinstance(model.prior, StandardPrior):
        raise ConfigError(f"{model.name} has no fitted prior (2-D models keep N(0, I)); use `prior` standard")
    prior = StandardPrior(model.config.latent_dim) if request.prior == "standard" else model.prior
    if isinstance(prior, FlowPrior):
        if request.guidance is not None and not 0 <= request.guidance <= _MOST_GUIDANCE:
            raise ConfigError(f"`guidance` must be 0 to {_MOST_GUIDANCE:g}, got {request.guidance:g}")
        rows = model.parts.rows(request.like, model.name)
        return replace(prior, like=rows, guidance=prior.guidance if request.guidance is None else request.guidance)
    if request.like:
        raise ConfigError(
            f"the prior of {model.name} knows no parts; images in sub-folders, or train `labels`, give it some"
        )
    if request.guidance is not None:
        raise ConfigError(f"`guidance` is of a flow, and the prior of {model.name} is none; leave it out")
    return prior


def _sheet(sampler: _Sampler, target: Path) -> Iterator[Event]:
    pictures: list[Image.Image] = []
    for _, z in sampler:
        pictures += to_pictures(sampler.model.decode(z))
        yield Progress("sampling", len(pictures), len(sampler.request.seeds))
    request = sampler.request
    captions = Captions(below=[f"{seed}" for seed in request.seeds])
    write_picture(request.look.draw(pictures, request.columns, captions), target)
    yield Wrote(target)
