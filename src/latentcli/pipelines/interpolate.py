"""Walks between keyframes, and grids between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain as joined
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli.config import Arrangement, InterpolationMethod
from latentcli.defaults import MOST_FRAMES, MOST_ON_SHEET, WALK_FPS, WALK_STEPS
from latentcli.errors import ConfigError, UsageError
from latentcli.events import Event, Progress, Wrote
from latentcli.figures.sheet import Captions, Look, check_pixels, enlarged
from latentcli.imaging.animation import check_animation, is_animation, is_video, open_animation
from latentcli.imaging.images import as_float, check_writable, on_checks, read_image, to_pictures, write_picture
from latentcli.model import interpolation
from latentcli.model.interpolation import Pace, Walk
from latentcli.model.modelfile import LoadedModel, batches, open_model
from latentcli.pipelines.inputs import keyframes, short_name
from latentcli.pipelines.outputs import decoded_pictures
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import output_file, write_whole

_SLOWEST, _FASTEST = 0.1, 100.0  # pictures a second
_LONGEST = 3600.0  # seconds
_MOST_HELD = 1000
_MOST_ANCHORS = 50  # a side of a grid


@dataclass(frozen=True, slots=True)
class WalkRequest:
    """A walk between keyframes."""

    keyframes: tuple[str, ...]  # image path, latents file, latents file#name, or seed:7
    steps: int = WALK_STEPS  # images per leg, both ends included
    method: InterpolationMethod = "lerp"
    loop: bool = False
    fps: float = WALK_FPS
    seconds: float | None = None  # of the whole animation, instead of steps
    even: bool = False
    ease: bool = False
    hold: int = 0  # times that a keyframe is shown again
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= MOST_ON_SHEET:
            raise ConfigError(f"`steps` must be 2 to {MOST_ON_SHEET:,}, got {self.steps:,}")
        if not _SLOWEST <= self.fps <= _FASTEST:
            raise ConfigError(f"`fps` must be {_SLOWEST} to {_FASTEST:g}, got {self.fps:g}")
        if self.seconds is not None and not 0 < self.seconds <= _LONGEST:
            raise ConfigError(f"`seconds` must be above 0 and up to {_LONGEST:g}, got {self.seconds:g}")
        if not 0 <= self.hold <= _MOST_HELD:
            raise ConfigError(f"`hold` must be 0 to {_MOST_HELD:,}, got {self.hold}")

    @property
    def pace(self) -> Pace:
        """How its pictures are spread."""
        total = None if self.seconds is None else max(2, round(self.seconds * self.fps))
        return Pace(self.steps, total, self.even, self.ease, self.hold)


@dataclass(frozen=True, slots=True)
class GridRequest:
    """A grid between keyframes, which are its anchors: row by row, or as the arrangement says."""

    keyframes: tuple[str, ...]
    arrangement: Arrangement = "grid"
    anchors: tuple[int, int] = (2, 2)  # rows and columns of keyframes
    steps: int = WALK_STEPS  # images from anchor to anchor, both included
    method: InterpolationMethod = "lerp"
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        rows, columns = self.anchors
        if not (1 <= rows <= _MOST_ANCHORS and 1 <= columns <= _MOST_ANCHORS and rows * columns > 1):
            raise UsageError(f"`grid` takes ROWSxCOLUMNS of keyframes, like 2x3, up to {_MOST_ANCHORS} a side")
        if not 2 <= self.steps <= MOST_ON_SHEET:
            raise ConfigError(f"`steps` must be 2 to {MOST_ON_SHEET:,}, got {self.steps:,}")

    @property
    def takes(self) -> int:
        """The number of keyframes."""
        rows, columns = self.anchors
        return {"analogy": 3, "chain": rows + columns - 1}.get(self.arrangement, rows * columns)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of images."""
        rows, columns = ((side - 1) * (self.steps - 1) + 1 for side in self.anchors)
        return rows, columns


@dataclass(frozen=True, slots=True)
class _Keyframes:
    """Latents (n, latent_dim), a name for each, and the argument each came from."""

    z: np.ndarray
    names: tuple[str, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def _keyframes(model: LoadedModel, texts: Sequence[str]) -> _Keyframes:
    found = [keyframes(model, text) for text in texts]
    names = tuple(joined.from_iterable(names for _, names in found))
    sources = tuple(text for text, (_, names) in zip(texts, found, strict=True) for _ in names)
    return _Keyframes(np.concatenate([z for z, _ in found]), names, sources)


def interpolate(entry: ModelEntry, request: WalkRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Walk from keyframe to keyframe: a strip, or an animation when the output is called so.

    Raises ConfigError for fewer than two keyframes, or an encoder that is not installed.
    """
    model = open_model(entry)
    stops = _keyframes(model, request.keyframes)
    if len(stops) < 2:
        raise ConfigError("a walk needs two keyframes; give another image, latents file or seed:NUMBER")
    target = output_file(output, Path(f"{_stem(request.keyframes)}.png"), force)
    walk = Walk(stops.z, request.method, request.loop)
    count = _count(request, walk)
    if is_animation(target):
        check_animation(target)
        if request.look.columns or request.look.labels or request.look.title:
            raise UsageError("`columns`, `labels` and `title` are of a sheet; leave them out of an animation")
        return _animate(model, walk, request, target, count)
    if request.seconds is not None:
        raise UsageError("`seconds` is of an animation; give `output` with .gif, .webp, .apng, .mp4 or .webm")
    check_writable(target)
    request.look.check(count, request.look.columns or count, (model.config.width, model.config.height))
    return _strip(model, walk, request, target, stops.names)


def _count(request: WalkRequest, walk: Walk) -> int:
    """Pictures of a walk. Raises ConfigError where they are too many, or too few for the keyframes that are held."""
    pace, held = request.pace, len(walk.keyframes) * request.hold
    count = walk.legs * (request.steps - 1) + held + (not walk.loop) if pace.total is None else pace.total
    if count > MOST_FRAMES:
        raise ConfigError(
            f"a walk takes up to {MOST_FRAMES:,} images, got {count:,}; give fewer `steps`, or fewer `seconds`"
        )
    if count < held + walk.legs + (not walk.loop):
        raise ConfigError(
            f"{count} images are too few for {len(walk.keyframes)} keyframes, each held {request.hold} times; "
            "give more `seconds`, or a smaller `hold`"
        )
    return count


def _strip(model: LoadedModel, walk: Walk, request: WalkRequest, target: Path, names: Sequence[str]) -> Iterator[Event]:
    positions = request.pace.positions(walk, model.decode)
    pictures: list[Image.Image] = []
    for some in batches(positions):
        pictures += to_pictures(model.decode(walk.at(some)))
        yield Progress("decoding", len(pictures), len(positions))
    columns = request.look.columns or len(pictures)
    below = [names[int(at) % len(names)] if at == int(at) else "" for at in positions]
    write_picture(request.look.draw(pictures, columns, Captions(below=below)), target)
    yield Wrote(target)


def _animate(model: LoadedModel, walk: Walk, request: WalkRequest, target: Path, count: int) -> Iterator[Event]:
    width, height = (side * request.look.scale for side in (model.config.width, model.config.height))
    check_pixels(width, height if is_video(target) else height * count)
    return _frames(model, walk, request, target)


def _frames(model: LoadedModel, walk: Walk, request: WalkRequest, target: Path) -> Iterator[Event]:
    animation = open_animation(target.suffix, request.fps)
    positions = request.pace.positions(walk, model.decode)
    done = 0
    for some in batches(positions):
        for picture in to_pictures(model.decode(walk.at(some))):
            animation.add(on_checks(enlarged(picture, request.look.scale)))
        done += len(some)
        yield Progress("decoding", done, len(positions))
    write_whole(target, animation.finish())
    yield Wrote(target)


def grid(entry: ModelEntry, request: GridRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw a grid between keyframes. Raises UsageError for another number of keyframes than it takes."""
    model = open_model(entry)
    stops = _keyframes(model, request.keyframes)
    if len(stops) != request.takes:
        raise UsageError(
            f"{_described(request)} takes {request.takes} keyframes, got {len(stops)}; seed:0-3 stands for four samples"
        )
    target = output_file(output, Path(f"{_stem(request.keyframes)}-{request.arrangement}.png"), force)
    check_writable(target)
    rows, columns = request.size
    if rows * columns > MOST_ON_SHEET:
        raise UsageError(f"a sheet takes up to {MOST_ON_SHEET:,} images, got {rows * columns:,}; give fewer `steps`")
    wide = columns + 2 * (request.arrangement == "analogy")
    request.look.check(rows * wide, wide, (model.config.width, model.config.height))
    return _grid(model, request, stops, target)


def _described(request: GridRequest) -> str:
    if request.arrangement == "grid":
        return "a grid of {}x{}".format(*request.anchors)
    return f"`{request.arrangement}`"


def _grid(model: LoadedModel, request: GridRequest, stops: _Keyframes, target: Path) -> Iterator[Event]:
    rows, columns = request.size
    if request.arrangement == "analogy":
        anchors = interpolation.analogy(*stops.z)
    elif request.arrangement == "chain":
        anchors = interpolation.chain(list(stops.z), *request.anchors)
    else:
        anchors = stops.z.reshape(*request.anchors, -1)
    z = interpolation.mesh(anchors, request.steps, request.method).reshape(rows * columns, -1)
    pictures = yield from decoded_pictures(model, z)
    if request.arrangement == "analogy":
        pictures, columns = _with_shoulders(pictures, rows, columns, _originals(model, stops)), columns + 2
        captions = Captions()
    else:
        captions = Captions(below=_at_anchors(request, stops.names))
    write_picture(request.look.draw(pictures, columns, captions), target)
    yield Wrote(target)


def _at_anchors(request: GridRequest, names: Sequence[str]) -> list[str]:
    """A name for each image that is a keyframe."""
    rows, columns = request.size
    step = request.steps - 1
    below = [""] * (rows * columns)
    cells = [(row * step, column * step) for row in range(request.anchors[0]) for column in range(request.anchors[1])]
    if request.arrangement == "chain":
        cells = [(0, column * step) for column in range(request.anchors[1])]
        cells += [(row * step, 0) for row in range(1, request.anchors[0])]
    for (row, column), name in zip(cells, names, strict=True):
        below[row * columns + column] = name
    return below


def _originals(model: LoadedModel, stops: _Keyframes) -> list[Image.Image]:
    """What the keyframes of an analogy are made of: images as the model sees them, or decoded latents."""
    decoded = to_pictures(model.decode(stops.z))
    found = []
    for text, picture in zip(stops.texts, decoded, strict=True):
        if text.startswith("seed:") or text.partition("#")[0].endswith(".safetensors"):
            found.append(picture)
        else:
            found += to_pictures(as_float(read_image(Path(text), model.config)[None]))
    return found


def _with_shoulders(
    pictures: list[Image.Image], rows: int, columns: int, originals: Sequence[Image.Image]
) -> list[Image.Image]:
    """The grid with a column at each side: of the originals the first beside the first row, at the left, the second at
    its right, the third beside the last row.
    """
    blank = Image.new(pictures[0].mode, pictures[0].size, "white")
    sides = [[blank, blank] for _ in range(rows)]
    sides[0] = [originals[0], originals[1]]
    sides[-1][0] = originals[2]
    shown = []
    for row, (left, right) in enumerate(sides):
        shown += [left, *pictures[row * columns : (row + 1) * columns], right]
    return shown


def _stem(keyframes: Sequence[str]) -> str:
    """Of a file's name: the first keyframe and the last."""
    first, last = short_name(keyframes[0]), short_name(keyframes[-1])
    return first if len(keyframes) == 1 else f"{first}-{last}"
