"""`latentcli map`: a plane of the latent space, or images laid out by their latents."""

from pathlib import Path
from typing import Annotated

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import LayoutMethod, Shape, Spacing
from latentcli.defaults import MAP_CELLS, NEAREST, PLANE_RANGE, TRAVERSAL_RANGE
from latentcli.errors import UsageError

IMAGES = "A map of IMAGES"  # a panel of the help page


def map_space(
    images: Annotated[
        list[Path] | None,
        opt.argument(
            "Images, folders of images, latents files, or samples like `seed:0-63`. Without any, a plane of the "
            "latent space is decoded.",
            metavar="[IMAGES...]",
        ),
    ] = None,
    plane_axes: opt.AxesOfPlane = None,
    cells: Annotated[
        str, opt.option("Images across and down, `15` or `30x20`.", metavar="N|WxH", panel=opt.PLANE)
    ] = str(MAP_CELLS),
    reach: Annotated[
        float | None,
        opt.option(
            f"Standard deviations to both sides. (default: {TRAVERSAL_RANGE:g}; {PLANE_RANGE:g} for a 2-D model, "
            "which is from its 5 % to its 95 % quantile)",
            "--range",
            panel=opt.PLANE,
        ),
    ] = None,
    spacing: Annotated[
        Spacing | None,
        opt.option(
            "`quantiles` puts as many of the model's latents between any two images; `even` as many standard "
            "deviations. (default: quantiles for a 2-D model, else even)",
            panel=opt.PLANE,
        ),
    ] = None,
    of: opt.Of = None,
    shape: Annotated[Shape, opt.option("Outline of the plane, or of each image.", panel=opt.PLANE)] = "square",
    method: Annotated[
        LayoutMethod,
        opt.option("`pca` keeps directions and distances, `tsne` and `umap` keep neighbours together.", panel=IMAGES),
    ] = "tsne",
    grid: Annotated[bool, opt.option("A cell for each image, none over another.", "--grid", panel=IMAGES)] = False,
    table: Annotated[
        Path | None, opt.option("Colour by a column of this table, not by sub-folder.", metavar="CSV", panel=IMAGES)
    ] = None,
    column: Annotated[str | None, opt.option("The column of --table.", panel=IMAGES)] = None,
    near: Annotated[
        str | None,
        opt.option("Only the images nearest to this one, a latent or a sample.", metavar="IMAGE", panel=IMAGES),
    ] = None,
    n: Annotated[
        int | None, opt.option(f"With --near: the number of images. (default: {NEAREST})", "--n", "-n", panel=IMAGES)
    ] = None,
    scale: opt.Scale = 1,
    columns: opt.Columns = None,
    labels: opt.LabelsOn = True,
    title: opt.Title = "",
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    show: opt.Show = None,
    as_json: opt.Json = False,
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
    if images and (plane_axes or reach is not None or spacing or of or shape != "square"):
        raise UsageError("--axes, --range, --spacing, --of and --shape draw a plane; leave out the images")
    if not images and (grid or table or column or near):
        raise UsageError("--grid, --table, --column and --near take images; name some, or a folder")
    if n is not None and near is None:
        raise UsageError("--n goes with --near IMAGE")
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
