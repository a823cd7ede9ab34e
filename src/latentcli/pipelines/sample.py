"""New images, decoded from latents that are drawn from a model's prior."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from latentcli.concepts.edit import Strength, move
from latentcli.config import PriorName
from latentcli.defaults import MOST_ON_SHEET, SPREAD, TEMPERATURE
from latentcli.errors import ConfigError, UsageError
from latentcli.events import Event, Wrote
from latentcli.figures.sheet import Captions, Look
from latentcli.imaging.images import check_writable, write_picture
from latentcli.model.flow import FlowPrior
from latentcli.model.modelfile import LoadedModel, batches, open_model
from latentcli.model.prior import Prior, StandardPrior
from latentcli.pipelines.inputs import keyframes, seeds_text, short_name
from latentcli.pipelines.outputs import check_folder, decoded_pictures, write_decoded
from latentcli.pipelines.vectors import load_vectors
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import chosen_name, output_file

_MOST_GUIDANCE = 10.0  # of a flow prior
Draw = Callable[[Sequence[int]], np.ndarray]  # from n seeds to latents (n, latent_dim)


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Settings of samples: seeds, the prior to draw from, and moves along concept vectors."""

    seeds: tuple[int, ...]  # one image each
    prior: PriorName | None = None  # by default the fitted prior, or N(0, I) for a model without one
    temperature: float | None = None  # by default TEMPERATURE
    guidance: float | None = None  # of a flow prior; by default the flow's own
    like: tuple[str, ...] = ()  # parts of the training images to draw from: `cats`, `smiling=yes`
    near: str | None = None  # a keyframe (an image, latent or sample): draw variations of the keyframe
    spread: float = SPREAD  # distance of the variations from that keyframe, 0 to 1
    moves: tuple[Strength, ...] = ()  # concept vectors that samples are moved along
    look: Look = field(default_factory=Look)


def sample(entry: ModelEntry, request: SampleRequest, each: bool, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw one image per seed and write a contact sheet or, with `each`, one file per seed in a folder.

    Raises ConfigError for a prior that the model does not have, OutputExists for a sheet that exists.
    """
    count, look = len(request.seeds), request.look
    if not each and count > MOST_ON_SHEET:
        raise UsageError(f"a sheet takes up to {MOST_ON_SHEET:,} images, got {count:,}; give `each`")
    if each and (look.columns or look.labels or look.title):
        raise UsageError("`columns`, `labels` and `title` are of a sheet; leave them out with `each`")
    model = open_model(entry)
    near = None if request.near is None else keyframes(model, request.near)[0]
    vectors = load_vectors(entry, model, request.moves)
    draw = drawing(model, request, near)
    latents = (move(draw(seeds), vectors, request.moves) for seeds in batches(request.seeds))
    words = ["samples", *request.like, *([] if request.near is None else [f"near-{short_name(request.near)}"])]
    words += [vector.label + vector.tag() for vector in request.moves]
    stem = "-".join([*(re.sub(r"[^\w.+]+", "-", word) for word in words), seeds_text(request.seeds)])
    if each:
        check_folder(output, count)
        folder = output or chosen_name(Path(stem), force, is_folder=True)
        paths = ([folder / f"seed-{seed:05d}.png" for seed in seeds] for seeds in batches(request.seeds))
        yield from write_decoded(model, zip(latents, paths, strict=True), count, not force, look.scale)
        return
    target = check_writable(output_file(output, Path(f"{stem}.png"), force))
    columns = look.columns or math.ceil(math.sqrt(count))
    look.check(count, columns, (model.config.width, model.config.height))
    pictures = yield from decoded_pictures(model, latents, count)
    write_picture(look.draw(pictures, columns, Captions(below=list(map(str, request.seeds)))), target)
    yield Wrote(target)


def drawing(model: LoadedModel, request: SampleRequest, near: np.ndarray | None = None) -> Draw:
    """Function from n seeds to latents (n, latent_dim): samples of the prior, or variations of `near` (1, latent_dim).

    Raises ConfigError for settings that the prior does not support, UsageError for unknown labels in `request.like`.
    """
    prior = _choose_prior(model, request)
    if near is not None:
        if len(near) != 1:
            raise UsageError(f"`near` takes one image or latent, got {len(near)}; name one, like FILE#name")
        if not 0 <= request.spread <= 1:
            raise ConfigError(f"`spread` must be 0 to 1, got {request.spread:g}")
        return lambda seeds: prior.vary(near[0], seeds, request.spread)
    temperature = TEMPERATURE if request.temperature is None else request.temperature
    if not 0 <= temperature <= 10:
        raise ConfigError(f"`temperature` must be 0 to 10, got {temperature:g}")
    return lambda seeds: prior.sample(seeds, temperature)


def _choose_prior(model: LoadedModel, request: SampleRequest) -> Prior:
    """Prior to draw from, with the guidance and labels of `request`. Raises the errors of `drawing`."""
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
