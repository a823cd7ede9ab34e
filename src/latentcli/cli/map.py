"""Command `latentcli map`: a decoded plane of the latent space, or images laid out by their latents."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import EngineName, LayoutMethod, Shape, Spacing
from latentcli.defaults import MAP_CELLS, NEAREST, PLANE_RANGE, TRAVERSAL_RANGE

IMAGES = opt.Panel("A map of IMAGES")


def map(
    images: list[Path] | None = opt.argument(
        "Images, folders of images, latents files, or samples like `seed:0-63`. Without any, a plane of the "
        "latent space is decoded.",
        default=None,
        metavar="[IMAGES...]",
    ),
    plane_axes: str | None = opt.axes_of_plane,
    cells: str = opt.PLANE.option("Images across and down, `15` or `30x20`.", default=str(MAP_CELLS), metavar="N|WxH"),
    reach: float | None = opt.PLANE.option(
        f"Standard deviations to both sides. (default: {TRAVERSAL_RANGE:g}; {PLANE_RANGE:g} for a 2-D model, "
        "which is from its 5 % to its 95 % quantile)",
        "--range",
    ),
    spacing: Spacing | None = opt.PLANE.option(
        "`quantiles` puts as many of the model's latents between any two images; `even` as many standard "
        "deviations. (default: quantiles for a 2-D model, else even)"
    ),
    of: str | None = opt.of,
    shape: Shape = opt.PLANE.option("Outline of the plane, or of each image.", default="square"),
    method: LayoutMethod = IMAGES.option(
        "`pca` keeps directions and distances, `tsne` and `umap` keep neighbours together.", default="tsne"
    ),
    grid: bool = IMAGES.switch("A cell for each image, none over another.", "--grid"),
    table: Path | None = IMAGES.option("Colour by a column of this table, not by sub-folder.", metavar="CSV"),
    column: str | None = IMAGES.option("The column of --table."),
    near: str | None = IMAGES.option("Only the images nearest to this one, a latent or a sample.", metavar="IMAGE"),
    n: int | None = IMAGES.option(f"With --near: the number of images. (default: {NEAREST})", "--n", "-n"),
    scale: int = opt.scale,
    columns: int | None = opt.columns,
    labels: bool = opt.labels_on,
    title: str = opt.title,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Draw a map of the latent space: a plane of it, or your images.

    Examples:

        latentcli map --cells 30
        latentcli map --axes smile,old --of me.jpg
        latentcli map faces/ --grid
        latentcli map faces/ --near me.jpg --n 15 --grid --columns 5
        latentcli map faces/ --table attributes.csv --column age --output faces.html

    Without IMAGES the plane is that of a 2-D model, else of its first two principal components. With an output named
    `.html` the map of images is a page where one can zoom and hover.
    """
    is_plane = plane_axes or reach is not None or spacing or of or shape != "square"
    is_scatter = grid or table or column or near
    opt.refuse(
        (images and is_plane, "--axes, --range, --spacing, --of and --shape draw a plane; leave out the images"),
        (not images and is_scatter, "--grid, --table, --column and --near take images; name some, or a folder"),
        (n is not None and near is None, "--n goes with --near IMAGE"),
    )
    console = Console(as_json, show)
    entry = choose_model(console, model, opt.axis_vectors(plane_axes), engine, [*(images or ()), of, near])

    from latentcli.figures.sheet import Look
    from latentcli.pipelines import map as maps

    look = Look(scale, columns, labels, title)
    if images:
        request = maps.MapRequest(tuple(images), method, grid, table, column, near, NEAREST if n is None else n, look)
        console.run(maps.scattered(entry, request, output, force), "encoding")
    else:
        size = opt.parse_pair(cells, "--cells takes 15 or 30x20 (images across and down)")
        plane = maps.PlaneRequest(plane_axes, size, reach, spacing, of, shape, look)
        console.run(maps.plane(entry, plane, output, force), "decoding")
