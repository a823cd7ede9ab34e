"""Maps: a plane of the latent space decoded as a grid, and images laid out by their latents."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from latentcli.concepts import axes
from latentcli.concepts.axes import Axis
from latentcli.concepts.csv_table import CsvTable
from latentcli.config import LayoutMethod, Shape, Spacing
from latentcli.defaults import MAP_CELLS, MOST_ON_SHEET, NEAREST, PLANE_RANGE, TRAVERSAL_RANGE
from latentcli.errors import ConfigError, ImageError, UsageError
from latentcli.events import Event, Note, Progress, Skipped, Wrote
from latentcli.figures import layout, scatter
from latentcli.figures.scatter import Groups, honeycomb
from latentcli.figures.sheet import Captions, Look, check_pixels, sheet
from latentcli.imaging.images import as_float, check_writable, to_pictures, write_picture
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.model.prior import StandardPrior
from latentcli.pipelines.inputs import Item, latents_of, short_name, start, subjects
from latentcli.pipelines.outputs import check_range, decoded_pictures
from latentcli.pipelines.vectors import named_axis
from latentcli.report import map_page
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import output_file, write_whole
from latentcli.text import stored

FAN = "fan"  # instead of two axes: all dimensions at once
_TICKS = 5  # at most so many rows and columns have a number
_MOST = 100_000  # images on a map
_PAGES = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class PlaneRequest:
    """A plane of the latent space: which axes, and how far."""

    axes: str | None = None  # two names; the dimensions of a 2-D model, else the first principal components
    cells: tuple[int, int] = (MAP_CELLS, MAP_CELLS)  # across and down
    reach: float | None = None  # standard deviations to both sides
    spacing: Spacing | None = None  # quantiles for 2-D models, else even
    of: str | None = None  # the keyframe in the middle; a sample by default
    shape: Shape = "square"
    look: Look = field(default_factory=lambda: Look(labels=True))

    def __post_init__(self) -> None:
        across, down = self.cells
        if not (across > 1 and down > 1 and across * down <= MOST_ON_SHEET):
            raise UsageError(f"`cells` takes 2 or more a side, like 15 or 30x20, and up to {MOST_ON_SHEET:,} in all")
        if self.reach is not None:
            check_range(self.reach)


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Images, and how they are laid out."""

    arguments: tuple[Path, ...]  # images, folders, latents files, or samples like seed:0-63
    method: LayoutMethod = "tsne"
    grid: bool = False  # a cell each, instead of a point
    table: Path | None = None  # whose column gives the groups; else sub-folders do
    column: str | None = None
    near: str | None = None  # the keyframe whose nearest images are mapped, instead of all
    n: int = NEAREST  # of those
    look: Look = field(default_factory=lambda: Look(labels=True))

    def __post_init__(self) -> None:
        if (self.table is None) != (self.column is None):
            raise UsageError("`table` CSV and `column` NAME go together")
        if not 2 <= self.n <= _MOST:
            raise UsageError(f"`n` takes 2 to {_MOST:,}, got {self.n:,}")


def plane(entry: ModelEntry, request: PlaneRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Decode a plane of the latent space as a grid of images.

    Raises UsageError for axes that the model does not have, OutputExists when the output is taken.
    """
    model = open_model(entry)
    if model.config.latent_dim < 2:
        raise ConfigError(f"a plane takes two latent dimensions, and {model.name} has one; see latentcli traverse")
    names = request.axes or ("z0,z1" if model.config.latent_dim == 2 else "pc1,pc2")
    of = "" if request.of is None else f"-{short_name(request.of)}"
    target = check_writable(output_file(output, Path(f"{entry.name}-{names.replace(',', '-')}{of}.png"), force))
    across, down = request.cells
    request.look.check(across * down, across, (model.config.width, model.config.height))
    if names == FAN:
        if request.of is not None or request.spacing is not None or request.reach is not None:
            raise UsageError("`axes` fan shows every dimension; leave out `of`, `reach` and `spacing`")
        right, up = _mesh(np.linspace(-1, 1, across), np.linspace(-1, 1, down), request)
        z = axes.fan(right, up, model.config.latent_dim)
        return _plane(model, z, request, Captions(), "every latent dimension", target)
    chosen = axes.names_of(names, 2)
    if len(chosen) != 2:
        raise UsageError(f"`axes` takes two names like pc1,pc2, or fan, got {names[:80]!r}")
    horizontal, vertical = (named_axis(entry, model, name) for name in chosen)
    x, y = (
        _places(model, axis, count, request) for axis, count in zip((horizontal, vertical), request.cells, strict=True)
    )
    middle = start(model, request.of)
    right, up = _mesh(x, y, request)
    z = middle + right[:, None] * horizontal.step + up[:, None] * vertical.step
    captions = Captions(rows=_ticks(y[::-1]), columns=_ticks(x))
    words = f"{horizontal.name} across, {vertical.name} up, in standard deviations"
    return _plane(model, z, request, captions, words, target)


def _mesh(x: np.ndarray, y: np.ndarray, request: PlaneRequest) -> tuple[np.ndarray, np.ndarray]:
    """The place of each image, row by row from the top: both (n,)."""
    right, up = np.meshgrid(x, y[::-1])
    if request.shape == "hexagons":
        right[1::2] += np.gradient(x) / 2
    return right.ravel(), up.ravel()


def _is_shown(request: PlaneRequest) -> np.ndarray:
    """Which cells hold an image: (n,) bool; those of a disc lie in it with their middle."""
    across, down = request.cells
    x, y = np.meshgrid((np.arange(across) + 0.5) / across, (np.arange(down) + 0.5) / down)
    is_inside = np.hypot(x - 0.5, y - 0.5) <= 0.5
    return np.asarray(is_inside if request.shape == "disc" else np.ones_like(is_inside)).ravel()


def _places(model: LoadedModel, axis: Axis, count: int, request: PlaneRequest) -> np.ndarray:
    """Standard deviations from the middle, (count,) rising."""
    from scipy.special import ndtr, ndtri

    is_2d = model.config.latent_dim == 2
    reach = request.reach or (PLANE_RANGE if is_2d else TRAVERSAL_RANGE)
    if (request.spacing or ("quantiles" if is_2d else "even")) == "even":
        return np.linspace(-reach, reach, count, dtype=np.float32)
    quantiles = np.linspace(ndtr(-reach), ndtr(reach), count)
    standard = isinstance(model.prior, StandardPrior)
    return np.asarray(ndtri(quantiles) if standard else axes.values(model.geometry, axis, quantiles), dtype=np.float32)


def _ticks(values: np.ndarray) -> list[str]:
    """A number for some rows or columns, the first and the last among them."""
    shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), _TICKS)).round().astype(int)).tolist()
    return [f"{value + 0.0:.1f}" if index in shown else "" for index, value in enumerate(values.round(1).tolist())]


def _plane(
    model: LoadedModel, z: np.ndarray, request: PlaneRequest, captions: Captions, words: str, target: Path
) -> Iterator[Event]:
    is_shown = _is_shown(request)
    drawn = yield from decoded_pictures(model, z[is_shown])
    look = request.look
    title = look.title or (words if look.labels else "")
    if request.shape == "hexagons":
        page = honeycomb(drawn, request.cells[0], look.scale, title)
    else:
        blank = Image.new(drawn[0].mode, drawn[0].size, "white")
        rest = iter(drawn)
        pictures = [next(rest) if here else blank for here in is_shown]
        page = sheet(pictures, request.cells[0], captions if look.labels else None, look.scale, title, gap=0)
    write_picture(page, target)
    yield Wrote(target)


def scattered(entry: ModelEntry, request: MapRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Lay images out by their latents: a picture, or a page when the output is called .html.

    Raises ImageError where there are none, ConfigError for a layout that is not installed.
    """
    layout.check_method(request.method)
    model = open_model(entry)
    items = _items(model, request)
    first = request.arguments[0]
    stem = short_name(str(first)) if len(request.arguments) == 1 else "images"
    near = None if request.near is None else start(model, request.near, "`near`")
    target = output_file(output, Path(f"{stem}-map.png"), force)
    if target.suffix.lower() not in _PAGES:
        check_writable(target)
    count = len(items) if near is None else min(request.n, len(items))
    columns = _columns(count, model, request) if request.grid else None
    check_pixels(*scatter.map_size(count, columns, _thumbnail(model, count, request), request.look))
    return _scattered(model, items, _group_names(request, items), near, request, target)


def _items(model: LoadedModel, request: MapRequest) -> list[Item]:
    """Raises UsageError for too few or too many, ImageError for a folder without images."""
    items = subjects(model, request.arguments)
    if not 2 <= len(items) <= _MOST:
        raise UsageError(f"a map takes 2 to {_MOST:,} images, got {len(items):,}")
    return items


def _columns(count: int, model: LoadedModel, request: MapRequest) -> int:
    """Of a grid that is about square in pixels."""
    width, height = model.config.width, model.config.height
    return request.look.columns or max(1, round((count * height / width) ** 0.5))


def _thumbnail(model: LoadedModel, count: int, request: MapRequest) -> tuple[int, int]:
    """Width and height in pixels."""
    longer = scatter.thumbnail_side(count, request.grid) * request.look.scale
    share = longer / max(model.config.width, model.config.height)
    return max(1, round(model.config.width * share)), max(1, round(model.config.height * share))


def _group_names(request: MapRequest, items: Sequence[Item]) -> list[str]:
    """The group of each image: its text in a column, else the argument or the sub-folder that it is in; "" for none.

    Raises ConfigError for a table without the column, or that names none of the images.
    """
    if request.table is not None and request.column is not None:
        root = next((argument for argument in request.arguments if argument.is_dir()), request.table.parent)
        table = CsvTable.read(request.table, root)
        if request.column not in table.texts:
            known = ", ".join(table.texts) or "none"
            raise ConfigError(f"{request.table} has no column {request.column!r}; it has {known}")
        text_of = dict(zip(table.names, table.texts[request.column], strict=True))
        found = [text_of.get(item.name, "") for item in items]
        if not any(found):
            raise ConfigError(f"{request.table} names none of the images; its paths must count from {root}")
        return found
    folders = {item.folder for item in items if item.folder is not None}
    if len(folders) > 1:
        return [item.folder.name if item.folder else "" for item in items]
    levels = [PurePosixPath(item.name).parts[:-1] for item in items]
    common = next((depth for depth, parts in enumerate(zip(*levels, strict=False)) if len(set(parts)) > 1), 0)
    return [parts[common] if len(parts) > common else "" for parts in levels]


def _scattered(
    model: LoadedModel, items: list[Item], names: list[str], near: np.ndarray | None, request: MapRequest, target: Path
) -> Iterator[Event]:
    is_page = target.suffix.lower() in _PAGES
    count = len(items) if near is None else min(request.n, len(items))
    size = _thumbnail(model, count, request)
    if is_page:
        size = map_page.thumbnail_size(count, (model.config.width, model.config.height))
    z, kept, thumbnails = yield from _read(model, items, size)
    if near is not None:
        nearest = _nearest(z, near, model.geometry.mean, request.n)
        z, kept, thumbnails = z[nearest], [kept[row] for row in nearest], [thumbnails[row] for row in nearest]
    groups = Groups.of([names[number] for number in kept])
    yield Progress("laying out", 0, 1)
    if request.method == "tsne" and len(z) > layout.LAID_OUT:
        yield Note(
            f"t-SNE of {layout.LAID_OUT:,} images; the others are placed among their nearest neighbours of these"
        )
    points = layout.lay_out(z, request.method)
    columns = _columns(len(kept), model, request) if request.grid else None
    placed = points if columns is None else layout.snap(points * (1, -1) + (0, 1), columns)
    yield Progress("laying out", 1, 1)
    if is_page:
        title = request.look.title or _title(model, len(kept))
        words, members = [items[number].name for number in kept], [names[number] for number in kept]
        write_whole(target, stored(map_page.build(title, thumbnails, words, members, groups, placed, columns)))
    else:
        write_picture(scatter.draw(thumbnails, placed, groups, columns, request.look), target)
    yield Wrote(target)


def _title(model: LoadedModel, count: int) -> str:
    return f"{count:,} images, laid out by the model {model.name}"


def _nearest(z: np.ndarray, near: np.ndarray, mean: np.ndarray, count: int) -> list[int]:
    """The rows of the latents z (n, latent_dim) with the largest cosine to one latent, seen from the mean."""
    around, one = z - mean, near - mean
    cosines = around @ one / np.maximum(np.linalg.norm(around, axis=1) * np.linalg.norm(one), 1e-12)
    return [int(row) for row in np.argsort(-cosines, kind="stable")[:count]]


@dataclass(frozen=True)
class Mapped:
    """Images of a folder, and the page of their map."""

    z: np.ndarray  # (n, latent_dim)
    page: str


def page_of(model: LoadedModel, folder: Path) -> Generator[Event, None, Mapped]:
    """The page of a folder's images, on a map. Raises ImageError for a folder without images."""
    request = MapRequest((folder,))
    items = _items(model, request)
    names = _group_names(request, items)
    size = map_page.thumbnail_size(len(items), (model.config.width, model.config.height))
    z, kept, thumbnails = yield from _read(model, items, size)
    members, words = [names[number] for number in kept], [items[number].name for number in kept]
    points = layout.lay_out(z, request.method)
    page = map_page.build(_title(model, len(kept)), thumbnails, words, members, Groups.of(members), points, None)
    return Mapped(z, page)


def _read(
    model: LoadedModel, items: Sequence[Item], size: tuple[int, int]
) -> Generator[Event, None, tuple[np.ndarray, list[int], list[Image.Image]]]:
    """Latents (n, latent_dim), the positions of the items that could be read, and a thumbnail of each.

    Raises ImageError where fewer than two could be.
    """
    parts: list[np.ndarray] = []
    kept: list[int] = []
    thumbnails: list[Image.Image] = []
    for found in latents_of(model, items):
        if isinstance(found, Skipped):
            yield found
            continue
        parts.append(found.mean)
        kept += found.positions
        images = model.decode(found.mean) if found.images is None else as_float(found.images)
        thumbnails += [_resized(picture, size) for picture in to_pictures(images)]
        yield Progress("encoding", len(kept), len(items))
    if len(kept) < 2:
        raise ImageError("a map takes two readable images; nothing was written")
    return np.concatenate(parts), kept, thumbnails


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
