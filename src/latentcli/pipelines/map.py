"""Maps of the latent space: a plane decoded as a grid of images, or images placed in 2-D by their latents."""

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
from latentcli.model.modelfile import LoadedModel, batches, open_model
from latentcli.model.prior import StandardPrior
from latentcli.pipelines.inputs import Item, keyframe, latents_of, short_name, subjects
from latentcli.pipelines.outputs import PAGES, check_range, decoded_pictures
from latentcli.pipelines.vectors import named_axis
from latentcli.report import map_page
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import output_file, write_whole
from latentcli.text import stored

FAN = "fan"  # value of `axes` for a plane that shows all latent dimensions at once
_TICKS = 5  # rows, and columns, of a plane that are labelled with a number, at most
_MOST = 100_000  # images on a map, at most


@dataclass(frozen=True, slots=True)
class PlaneRequest:
    """Settings of a plane of the latent space: axes, range, cells and look."""

    axes: str | None = None  # two names; by default z0,z1 for a 2-D model, else the principal components pc1,pc2
    cells: tuple[int, int] = (MAP_CELLS, MAP_CELLS)  # images across and down
    reach: float | None = None  # from the middle to each side, in standard deviations
    spacing: Spacing | None = None  # by default quantiles for 2-D models, else even
    of: str | None = None  # the keyframe in the middle; by default a sample, or the mean latent of a 2-D model
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
    """Settings of a map: the images, their groups and their layout."""

    arguments: tuple[Path, ...]  # images, folders, latents files, or samples like seed:0-63
    method: LayoutMethod = "tsne"
    grid: bool = False  # each image in a cell of its own, instead of at a point
    table: Path | None = None  # a CSV table with the groups of the images; by default sub-folders are groups
    column: str | None = None  # the table's column that holds the groups
    near: str | None = None  # a keyframe: map the images nearest to the keyframe alone, not all
    n: int = NEAREST  # images nearest to `near` that are mapped
    look: Look = field(default_factory=lambda: Look(labels=True))

    def __post_init__(self) -> None:
        if (self.table is None) != (self.column is None):
            raise UsageError("`table` CSV and `column` NAME go together")
        if not 2 <= self.n <= _MOST:
            raise UsageError(f"`n` takes 2 to {_MOST:,}, got {self.n:,}")


def plane(entry: ModelEntry, request: PlaneRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Decode a plane of the latent space and draw the images as a grid.

    Raises UsageError for axes that the model does not have, OutputExists for an output file that exists.
    """
    model, look = open_model(entry), request.look
    if model.config.latent_dim < 2:
        raise ConfigError(f"a plane takes two latent dimensions, and {model.name} has one; see latentcli traverse")
    names = request.axes or ("z0,z1" if model.config.latent_dim == 2 else "pc1,pc2")
    of = "" if request.of is None else f"-{short_name(request.of)}"
    target = check_writable(output_file(output, Path(f"{entry.name}-{names.replace(',', '-')}{of}.png"), force))
    across, down = request.cells
    look.check(across * down, across, (model.config.width, model.config.height))
    z, captions, words = _latents(entry, model, names, request)

    x, y = np.meshgrid((np.arange(across) + 0.5) / across - 0.5, (np.arange(down) + 0.5) / down - 0.5)
    is_shown = (np.hypot(x, y) <= 0.5).ravel() | (request.shape != "disc")
    z = z[is_shown]
    pictures = yield from decoded_pictures(model, batches(z), len(z))
    title = look.title or (words if look.labels else "")
    if request.shape == "hexagons":
        page = honeycomb(pictures, across, look.scale, title)
    else:
        blank = Image.new(pictures[0].mode, pictures[0].size, "white")
        rest = iter(pictures)
        pictures = [next(rest) if here else blank for here in is_shown]
        page = sheet(pictures, across, captions if look.labels else None, look.scale, title, gap=0)
    write_picture(page, target)
    yield Wrote(target)


def _latents(
    entry: ModelEntry, model: LoadedModel, names: str, request: PlaneRequest
) -> tuple[np.ndarray, Captions, str]:
    """Latents (n, latent_dim) of a plane's cells, row by row from the top; captions of rows and columns; a title."""
    across, down = request.cells
    if names == FAN:
        if request.of is not None or request.spacing is not None or request.reach is not None:
            raise UsageError("`axes` fan shows every dimension; leave out `of`, `reach` and `spacing`")
        right, up = _mesh(np.linspace(-1, 1, across), np.linspace(-1, 1, down), request)
        return axes.fan(right, up, model.config.latent_dim), Captions(), "every latent dimension"
    chosen = axes.names_of(names, 2)
    if len(chosen) != 2:
        raise UsageError(f"`axes` takes two names like pc1,pc2, or fan, got {names[:80]!r}")
    horizontal, vertical = (named_axis(entry, model, name) for name in chosen)
    x, y = _deviations(model, horizontal, across, request), _deviations(model, vertical, down, request)
    right, up = _mesh(x, y, request)
    z = keyframe(model, request.of) + right[:, None] * horizontal.step + up[:, None] * vertical.step
    captions = Captions(rows=_ticks(y[::-1]), columns=_ticks(x))
    return z, captions, f"{horizontal.name} across, {vertical.name} up, in standard deviations"


def _mesh(x: np.ndarray, y: np.ndarray, request: PlaneRequest) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (right, up) of each cell, (n,) each, row by row from the top; odd rows of hexagons are shifted."""
    right, up = np.meshgrid(x, y[::-1])
    if request.shape == "hexagons":
        right[1::2] += np.gradient(x) / 2
    return right.ravel(), up.ravel()


def _deviations(model: LoadedModel, axis: Axis, count: int, request: PlaneRequest) -> np.ndarray:
    """Coordinates (count,) of cells along an axis, in standard deviations: evenly spaced, or at quantiles."""
    from scipy.special import ndtr, ndtri

    is_2d = model.config.latent_dim == 2
    reach = request.reach or (PLANE_RANGE if is_2d else TRAVERSAL_RANGE)
    if (request.spacing or ("quantiles" if is_2d else "even")) == "even":
        return np.linspace(-reach, reach, count, dtype=np.float32)
    quantiles = np.linspace(ndtr(-reach), ndtr(reach), count)
    standard = isinstance(model.prior, StandardPrior)
    return np.asarray(ndtri(quantiles) if standard else axes.values(model.geometry, axis, quantiles), dtype=np.float32)


def _ticks(values: np.ndarray) -> list[str]:
    """Captions for rows or columns: up to 5 of the values, the first and the last included, and "" for the rest."""
    shown = np.linspace(0, len(values) - 1, min(len(values), _TICKS)).round()
    return [f"{value + 0.0:.1f}" if index in shown else "" for index, value in enumerate(values.round(1).tolist())]


def scattered(entry: ModelEntry, request: MapRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Place images by their latents in 2-D and write the map, as a picture or, for the suffix .html, as a page.

    Raises ImageError without images, ConfigError for a layout method that is not installed.
    """
    layout.check_method(request.method)
    model, look = open_model(entry), request.look
    items = _items(model, request)
    stem = short_name(str(request.arguments[0])) if len(request.arguments) == 1 else "images"
    near = None if request.near is None else keyframe(model, request.near, "`near`")
    target = output_file(output, Path(f"{stem}-map.png"), force)
    is_page = target.suffix.lower() in PAGES
    if not is_page:
        check_writable(target)
    count = len(items) if near is None else min(request.n, len(items))
    longer = scatter.thumbnail_side(count, request.grid) * look.scale
    share = longer / max(model.config.width, model.config.height)
    size = max(1, round(model.config.width * share)), max(1, round(model.config.height * share))
    check_pixels(*scatter.map_size(count, _columns(count, model, request), size, look))
    members = _group_names(request, items)

    if is_page:
        size = map_page.thumbnail_size(count, (model.config.width, model.config.height))
    mapped = yield from _laid_out(model, items, members, size, request, near)
    columns = _columns(len(mapped.names), model, request)
    placed = mapped.points if columns is None else layout.snap(mapped.points * (1, -1) + (0, 1), columns)
    if is_page:
        write_whole(target, stored(mapped.page(placed, columns, look.title)))
    else:
        write_picture(scatter.draw(mapped.thumbnails, placed, Groups.of(mapped.members), columns, look), target)
    yield Wrote(target)


def page_of(model: LoadedModel, folder: Path) -> Generator[Event, None, tuple[np.ndarray, str]]:
    """Latents (n, latent_dim) of the images in a folder, and an HTML page with a map of the images.

    Raises ImageError for a folder without images.
    """
    request = MapRequest((folder,))
    items = _items(model, request)
    size = map_page.thumbnail_size(len(items), (model.config.width, model.config.height))
    mapped = yield from _laid_out(model, items, _group_names(request, items), size, request)
    return mapped.z, mapped.page(mapped.points)


def _items(model: LoadedModel, request: MapRequest) -> list[Item]:
    """Items to map. Raises UsageError for too few or too many items, ImageError for a folder without images."""
    items = subjects(model, request.arguments)
    if not 2 <= len(items) <= _MOST:
        raise UsageError(f"a map takes 2 to {_MOST:,} images, got {len(items):,}")
    return items


def _columns(count: int, model: LoadedModel, request: MapRequest) -> int | None:
    """Number of columns of a map as a grid, by default those of a square figure; None for a map of points."""
    if not request.grid:
        return None
    return request.look.columns or max(1, round((count * model.config.height / model.config.width) ** 0.5))


def _group_names(request: MapRequest, items: Sequence[Item]) -> list[str]:
    """Group of each item, "" for none: the text in the table's column, or else the name of the item's folder.

    Raises ConfigError for a table without the column, or that names none of the images.
    """
    if request.table is not None and request.column is not None:
        root = next((argument for argument in request.arguments if argument.is_dir()), request.table.parent)
        table = CsvTable.read(request.table, root)
        if request.column not in table.texts:
            known = ", ".join(table.texts) or "none"
            raise ConfigError(f"{request.table} has no column {request.column!r}; it has {known}")
        text_of = dict(zip(table.names, table.texts[request.column], strict=True))
        groups = [text_of.get(item.name, "") for item in items]
        if not any(groups):
            raise ConfigError(f"{request.table} names none of the images; its paths must count from {root}")
        return groups
    folders = {item.folder for item in items if item.folder is not None}
    if len(folders) > 1:
        return [item.folder.name if item.folder else "" for item in items]
    levels = [PurePosixPath(item.name).parts[:-1] for item in items]
    common = next((depth for depth, parts in enumerate(zip(*levels, strict=False)) if len(set(parts)) > 1), 0)
    return [parts[common] if len(parts) > common else "" for parts in levels]


@dataclass(frozen=True)
class _Mapped:
    """Images placed on a map: latents, points, thumbnails, names and groups."""

    model: str  # the name of the model that encoded them
    z: np.ndarray  # (n, latent_dim)
    points: np.ndarray  # (n, 2), in 0 to 1
    thumbnails: list[Image.Image]
    names: list[str]
    members: list[str]  # the group of each image

    def page(self, placed: np.ndarray, columns: int | None = None, title: str = "") -> str:
        """HTML document of the map; `placed` are points (n, 2) or, with `columns`, cells (n,) of a grid."""
        title = title or f"{len(self.names):,} images, laid out by the model {self.model}"
        return map_page.build(title, self.thumbnails, self.names, self.members, placed, columns)


def _laid_out(
    model: LoadedModel,
    items: Sequence[Item],
    members: Sequence[str],
    size: tuple[int, int],
    request: MapRequest,
    near: np.ndarray | None = None,
) -> Generator[Event, None, _Mapped]:
    """Encode items and place them in 2-D: all, or only the `request.n` items nearest to the latent `near`.

    Nearness is the cosine after subtraction of the prior's mean. `members` names the group of each item; `size` is
    that of thumbnails, in pixels. Raises ImageError for fewer than two readable items.
    """
    latents: list[np.ndarray] = []
    rows: list[int] = []  # positions in `items`
    thumbnails: list[Image.Image] = []
    for result in latents_of(model, items):
        if isinstance(result, Skipped):
            yield result
            continue
        latents.append(result.mean)
        rows += result.positions
        images = model.decode(result.mean) if result.images is None else as_float(result.images)
        thumbnails += [
            picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
            for picture in to_pictures(images)
        ]
        yield Progress("encoding", len(rows), len(items))
    if len(rows) < 2:
        raise ImageError("a map takes two readable images; nothing was written")
    z = np.concatenate(latents)
    if near is not None:
        around, direction = z - model.geometry.mean, near - model.geometry.mean
        lengths = np.linalg.norm(around, axis=1) * np.linalg.norm(direction)
        cosines = around @ direction / np.maximum(lengths, 1e-12)
        nearest = np.argsort(-cosines, kind="stable")[: request.n].tolist()
        z, rows, thumbnails = z[nearest], [rows[one] for one in nearest], [thumbnails[one] for one in nearest]
    yield Progress("laying out", 0, 1)
    if request.method == "tsne" and len(z) > layout.LAID_OUT:
        yield Note(
            f"t-SNE of {layout.LAID_OUT:,} images; the others are placed among their nearest neighbours of these"
        )
    points = layout.lay_out(z, request.method)
    names, groups = [items[row].name for row in rows], [members[row] for row in rows]
    return _Mapped(model.name, z, points, thumbnails, names, groups)
