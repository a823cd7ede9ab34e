"""New images from the prior, and walks between images."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from latentcli.animation import encode_animation, is_animation
from latentcli.catalog import VECTOR_SUFFIX, ModelEntry
from latentcli.concepts.edit import EditRequest, Strength, move
from latentcli.concepts.vector import ConceptVector
from latentcli.config import MOST_ON_SHEET, MOST_SEEDS, SPREAD, WALK_FPS, WALK_STEPS, InterpolationMethod, PriorName
from latentcli.errors import ConfigError, UsageError
from latentcli.events import Event, Progress, Wrote
from latentcli.files import free_name, output_file, write_whole
from latentcli.images import check_writable, grid, to_pictures, write_picture
from latentcli.latents import SUFFIX, walk
from latentcli.model.flow import FlowPrior
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.prior import Prior, StandardPrior
from latentcli.pipelines.apply_vector import load_vectors
from latentcli.pipelines.encode import keyframes, write_decoded
from latentcli.pipelines.jobs import check_folder

_BATCH = 64  # images
_MOST_GUIDANCE = 10.0
_LONGEST_RANGE = 50  # characters
_SLOWEST = 0.1  # pictures a second

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

    @property
    def stem(self) -> str:
        """Of the name of the file or folder."""
        parts = ["samples", *self.like, *([] if self.near is None else [f"near-{_short_name(self.near)}"])]
        parts += [Path(move.name).name.removesuffix(VECTOR_SUFFIX) + move.tag() for move in self.moves]
        return "-".join([*(re.sub(r"[^\w.+]+", "-", part) for part in parts), seeds_text(self.seeds)])


@dataclass(frozen=True, slots=True)
class WalkRequest:
    """A walk between keyframes."""

    keyframes: tuple[str, ...]  # image path, latents file, latents file#name, or seed:7
    steps: int = WALK_STEPS  # images per leg, both ends included
    method: InterpolationMethod = "lerp"
    loop: bool = False
    fps: float = WALK_FPS


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds and ranges, separated by commas.

    >>> parse_seeds("0,3-6")
    (0, 3, 4, 5, 6)
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip()[:_LONGEST_RANGE].partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"--seeds takes numbers and ranges like 0,3-9, got {text[:_LONGEST_RANGE]!r}")
        low, high = int(first), int(last or first)
        if not low <= high < 2**63 or high - low >= MOST_SEEDS - len(seeds):
            raise UsageError(f"--seeds takes up to {MOST_SEEDS:,} rising numbers below 2^63, got {part.strip()!r}")
        seeds += range(low, high + 1)
    return tuple(seeds)


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as they stand in a file's name.

    >>> seeds_text((0, 1, 2, 7))
    '0-2,7'
    """
    parts: list[str] = []
    start = 0
    for index in range(1, len(seeds) + 1):
        if index == len(seeds) or seeds[index] != seeds[index - 1] + 1:
            run = seeds[start:index]
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
            start = index
    text = ",".join(parts)
    return text if len(text) <= 60 else f"{parts[0]},etc,{parts[-1]}"


def sample(entry: ModelEntry, request: SampleRequest, each: bool, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw one image per seed: a contact sheet, or with `each` one file per seed in a folder.

    Raises ConfigError for a prior the model does not have, OutputExists when the sheet is taken.
    """
    if not each and len(request.seeds) > MOST_ON_SHEET:
        raise UsageError(f"a sheet takes up to {MOST_ON_SHEET:,} images, got {len(request.seeds):,}; give --each")
    sampler = _Sampler.of(entry, load_model(entry.path, entry.engine), request)
    if each:
        check_folder(output, len(request.seeds))
        return _each(sampler, output or free_name(Path(request.stem)), keep=not force)
    return _sheet(sampler, check_writable(output_file(output, Path(f"{request.stem}.png"), force)))


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
        vectors = load_vectors(entry, model, EditRequest(vectors=request.moves))[0] if request.moves else []
        return cls(model, request, drawing(model, request, near), vectors)

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Seeds and their latents."""
        for start in range(0, len(self.request.seeds), _BATCH):
            seeds = self.request.seeds[start : start + _BATCH]
            yield seeds, move(self.drawn(seeds), self.vectors, self.request.moves)


def _each(sampler: _Sampler, folder: Path, keep: bool) -> Iterator[Event]:
    done = 0
    for seeds, z in sampler:
        paths = [folder / f"seed-{seed:05d}.png" for seed in seeds]
        for event in write_decoded(sampler.model, z, paths, keep):
            if not isinstance(event, Progress):
                yield event
        done += len(seeds)
        yield Progress("sampling", done, len(sampler.request.seeds))


def drawing(model: LoadedModel, request: SampleRequest, near: np.ndarray | None = None) -> Drawn:
    """What draws the samples of a request, or variations of `near` (1, latent_dim).

    Raises ConfigError for what the model's prior cannot do, UsageError for parts that it does not know.
    """
    prior = _choose_prior(model, request)
    if near is not None:
        if len(near) != 1:
            raise UsageError(f"--near takes one image or latent, got {len(near)}; name one, like FILE#name")
        if not 0 <= request.spread <= 1:
            raise ConfigError(f"--spread must be 0 to 1, got {request.spread:g}")
        return lambda seeds: prior.vary(near[0], seeds, request.spread)
    temperature = prior.temperature if request.temperature is None else request.temperature
    if not 0 <= temperature <= 10:
        raise ConfigError(f"--temperature must be 0 to 10, got {temperature:g}")
    return lambda seeds: prior.sample(seeds, temperature)


def _choose_prior(model: LoadedModel, request: SampleRequest) -> Prior:
    if request.prior == "fitted" and isinstance(model.prior, StandardPrior):
        raise ConfigError(f"{model.name} has no fitted prior (2-D models keep N(0, I)); use --prior standard")
    prior = StandardPrior(model.config.latent_dim) if request.prior == "standard" else model.prior
    if isinstance(prior, FlowPrior):
        if request.guidance is not None and not 0 <= request.guidance <= _MOST_GUIDANCE:
            raise ConfigError(f"--guidance must be 0 to {_MOST_GUIDANCE:g}, got {request.guidance:g}")
        rows = model.parts.rows(request.like, model.name)
        return replace(prior, like=rows, guidance=prior.guidance if request.guidance is None else request.guidance)
    if request.like:
        raise ConfigError(
            f"the prior of {model.name} knows no parts; images in sub-folders, or train --labels, give it some"
        )
    if request.guidance is not None:
        raise ConfigError(f"--guidance is of a flow, and the prior of {model.name} is none; leave it out")
    return prior


def _sheet(sampler: _Sampler, target: Path) -> Iterator[Event]:
    pictures: list[Image.Image] = []
    for _, z in sampler:
        pictures += to_pictures(sampler.model.decode(z))
        yield Progress("sampling", len(pictures), len(sampler.request.seeds))
    write_picture(grid(pictures, columns=math.ceil(math.sqrt(len(pictures)))), target)
    yield Wrote(target)


def interpolate(entry: ModelEntry, request: WalkRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Walk from keyframe to keyframe: a strip, or an animation when the output is called .gif, .webp or .apng.

    Raises ConfigError for fewer than two keyframes or a bad number of steps.
    """
    if request.steps < 2:
        raise ConfigError(f"--steps must be 2 or more, got {request.steps}")
    if request.steps > MOST_ON_SHEET:
        raise ConfigError(f"--steps must be up to {MOST_ON_SHEET:,}, got {request.steps:,}")
    if not _SLOWEST <= request.fps <= 100:
        raise ConfigError(f"--fps must be {_SLOWEST} to 100, got {request.fps:g}")
    model = load_model(entry.path, entry.engine)
    stops = np.concatenate([keyframes(model, text)[0] for text in request.keyframes])
    if len(stops) < 2:
        raise ConfigError("a walk needs two keyframes; give another image, latents file or seed:NUMBER")
    if len(stops) * request.steps > MOST_ON_SHEET:
        raise ConfigError(f"a walk takes up to {MOST_ON_SHEET:,} images; {len(stops)} keyframes take fewer --steps")
    first, last = _short_name(request.keyframes[0]), _short_name(request.keyframes[-1])
    name = first if len(request.keyframes) == 1 else f"{first}-{last}"
    target = output_file(output, Path(f"{name}.png"), force)
    if not is_animation(target):
        check_writable(target)
    z = walk(stops, request.steps, request.method, request.loop)
    return _walk(model, z, target, request.fps)


def _walk(model: LoadedModel, z: np.ndarray, target: Path, fps: float) -> Iterator[Event]:
    pictures = to_pictures(model.decode(z))
    yield Progress("decoding", len(z), len(z))
    if is_animation(target):
        write_whole(target, encode_animation(pictures, target.suffix, fps))
    else:
        write_picture(grid(pictures, columns=len(pictures)), target)
    yield Wrote(target)


def _short_name(keyframe: str) -> str:
    if keyframe.startswith("seed:"):
        return keyframe.replace(":", "")
    path, _, name = keyframe.partition("#")
    return Path(name or path.removesuffix(SUFFIX)).stem
