"""Walks and grids of images, interpolated between keyframes: images, latents or samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
from latentcli.pipelines.inputs import is_latent, keyframes, short_name
from latentcli.pipelines.outputs import decoded_pictures
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import output_file, write_whole

_SLOWEST, _FASTEST = 0.1, 100.0  # limits of an animation's pictures a second
_LONGEST = 3600.0  # seconds of an animation, at most
_MOST_HELD = 1000  # repetitions of a keyframe, at most
_MOST_ANCHORS = 50  # keyframes along a side of a grid, at most


@dataclass(frozen=True, slots=True)
class WalkRequest:
    """Settings of a walk: images interpolated from each keyframe to the next."""

    keyframes: tuple[str, ...]  # image path, latents file, latents file#name, or seed:7
    steps: int = WALK_STEPS  # images from keyframe to keyframe, both included
    method: InterpolationMethod = "lerp"
    loop: bool = False  # return from the last keyframe to the first
    fps: float = WALK_FPS  # pictures a second of an animation
    seconds: float | None = None  # length of the whole animation, instead of `steps`
    even: bool = False  # images change equally from one to the next
    ease: bool = False  # slow down near keyframes
    hold: int = 0  # times that each keyframe is repeated
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


@dataclass(frozen=True, slots=True)
class GridRequest:
    """Settings of a grid of images interpolated between keyframes in rows, columns or another arrangement."""

    keyframes: tuple[str, ...]
    arrangement: Arrangement = "grid"
    anchors: tuple[int, int] = (2, 2)  # rows and columns of keyframes
    steps: int = WALK_STEPS  # images from anchor to anchor, both ends included
    method: InterpolationMethod = "lerp"
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        rows, columns = self.anchors
        if not (1 <= rows <= _MOST_ANCHORS and 1 <= columns <= _MOST_ANCHORS and rows * columns > 1):
            raise UsageError(f"`grid` takes ROWSxCOLUMNS of keyframes, like 2x3, up to {_MOST_ANCHORS} a side")
        if not 2 <= self.steps <= MOST_ON_SHEET:
            raise ConfigError(f"`steps` must be 2 to {MOST_ON_SHEET:,}, got {self.steps:,}")


def _keyframes(model: LoadedModel, texts: Sequence[str]) -> tuple[np.ndarray, list[str], list[str]]:
    """Latents (n, latent_dim) of keyframes, the name of each latent, and the text in `texts` that each came from."""
    latents: list[np.ndarray] = []
    names: list[str] = []
    sources: list[str] = []
    for text in texts:
        z, keyframe_names = keyframes(model, text)  # a latents file or seed:0-3 gives several
        latents.append(z)
        names += keyframe_names
        sources += [text] * len(z)
    return np.concatenate(latents), names, sources


def interpolate(entry: ModelEntry, request: WalkRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw a walk from keyframe to keyframe, as a strip or, for a suffix like .gif or .mp4, as an animation.

    Raises ConfigError for fewer than two keyframes, or a video encoder that is not installed.
    """
    model, look = open_model(entry), request.look
    z, names, _ = _keyframes(model, request.keyframes)
    if len(z) < 2:
        raise ConfigError("a walk needs two keyframes; give another image, latents file or seed:NUMBER")
    target = output_file(output, Path(f"{_stem(request.keyframes)}.png"), force)
    walk = Walk(z, request.method, request.loop)
    total = None if request.seconds is None else max(2, round(request.seconds * request.fps))
    pace = Pace(request.steps, total, request.even, request.ease, request.hold)
    count = _count(pace, walk)
    if is_animation(target):
        check_animation(target)
        if look.columns or look.labels or look.title:
            raise UsageError("`columns`, `labels` and `title` are of a sheet; leave them out of an animation")
        height = model.config.height * look.scale
        check_pixels(model.config.width * look.scale, height if is_video(target) else height * count)
    else:
        if request.seconds is not None:
            raise UsageError("`seconds` is of an animation; give `output` with .gif, .webp, .apng, .mp4 or .webm")
        check_writable(target)
        look.check(count, look.columns or count, (model.config.width, model.config.height))

    positions = pace.positions(walk, model.decode)
    latents = map(walk.at, batches(positions))
    if is_animation(target):
        animation, done = open_animation(target.suffix, request.fps), 0
        for batch in latents:
            for picture in to_pictures(model.decode(batch)):
                animation.add(on_checks(enlarged(picture, look.scale)))
            done += len(batch)
            yield Progress("decoding", done, count)
        write_whole(target, animation.finish())
    else:
        pictures = yield from decoded_pictures(model, latents, count)
        below = [names[int(at) % len(names)] if at == int(at) else "" for at in positions]
        write_picture(look.draw(pictures, look.columns or count, Captions(below=below)), target)
    yield Wrote(target)


def _count(pace: Pace, walk: Walk) -> int:
    """Number of images in a walk. Raises ConfigError for too many, or too few to hold each keyframe."""
    held = len(walk.keyframes) * pace.hold
    count = walk.legs * (pace.steps - 1) + held + (not walk.loop) if pace.total is None else pace.total
    if count > MOST_FRAMES:
        raise ConfigError(
            f"a walk takes up to {MOST_FRAMES:,} images, got {count:,}; give fewer `steps`, or fewer `seconds`"
        )
    if count < held + walk.legs + (not walk.loop):
        raise ConfigError(
            f"{count} images are too few for {len(walk.keyframes)} keyframes, each held {pace.hold} times; "
            "give more `seconds`, or a smaller `hold`"
        )
    return count


def grid(entry: ModelEntry, request: GridRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw a grid of images between keyframes. Raises UsageError unless the number of keyframes fits the grid."""
    model, look = open_model(entry), request.look
    stops, names, sources = _keyframes(model, request.keyframes)
    down, across = request.anchors
    takes = {"analogy": 3, "chain": down + across - 1}.get(request.arrangement, down * across)
    if len(stops) != takes:
        what = f"a grid of {down}x{across}" if request.arrangement == "grid" else f"`{request.arrangement}`"
        raise UsageError(f"{what} takes {takes} keyframes, got {len(stops)}; seed:0-3 stands for four samples")
    target = output_file(output, Path(f"{_stem(request.keyframes)}-{request.arrangement}.png"), force)
    check_writable(target)
    step = request.steps - 1  # cells from one keyframe to the next
    rows, columns = (down - 1) * step + 1, (across - 1) * step + 1
    if rows * columns > MOST_ON_SHEET:
        raise UsageError(f"a sheet takes up to {MOST_ON_SHEET:,} images, got {rows * columns:,}; give fewer `steps`")
    wide = columns + 2 * (request.arrangement == "analogy")
    look.check(rows * wide, wide, (model.config.width, model.config.height))

    if request.arrangement == "analogy":
        anchors = interpolation.analogy(*stops)
    elif request.arrangement == "chain":
        anchors = interpolation.chain(list(stops), down, across)
    else:
        anchors = stops.reshape(down, across, -1)
    z = interpolation.mesh(anchors, request.steps, request.method).reshape(rows * columns, -1)
    pictures = yield from decoded_pictures(model, batches(z), len(z))
    below = np.full((rows, columns), "", dtype=object)  # captions: names of the keyframes
    if request.arrangement == "analogy":
        decoded = to_pictures(model.decode(stops))
        originals = [
            picture if is_latent(text) else to_pictures(as_float(read_image(Path(text), model.config)[None]))[0]
            for text, picture in zip(sources, decoded, strict=True)
        ]
        pictures = _with_originals(pictures, rows, originals)
    elif request.arrangement == "chain":  # along the first row, then down the first column
        below[0, ::step], below[step::step, 0] = names[:across], names[across:]
    else:
        below[::step, ::step] = np.reshape(names, (down, across))
    captions = Captions() if request.arrangement == "analogy" else Captions(below=below.ravel().tolist())
    write_picture(look.draw(pictures, wide, captions), target)
    yield Wrote(target)


def _with_originals(pictures: list[Image.Image], rows: int, originals: Sequence[Image.Image]) -> list[Image.Image]:
    """Pictures of a grid with a column added at each side: originals 1 and 2 beside row 1, 3 left of the last row."""
    blank = Image.new(pictures[0].mode, pictures[0].size, "white")
    left, right = [blank] * rows, [blank] * rows
    left[0], right[0], left[-1] = originals
    columns = len(pictures) // rows
    shown = []
    for row in range(rows):
        shown += [left[row], *pictures[row * columns : (row + 1) * columns], right[row]]
    return shown


def _stem(keyframes: Sequence[str]) -> str:
    """Name of the output file, without suffix, from the first and the last keyframe."""
    first, last = short_name(keyframes[0]), short_name(keyframes[-1])
    return first if len(keyframes) == 1 else f"{first}-{last}"
