"""Command `latentcli explore`: sliders for a model in the browser, or as a page that can be passed on."""

import importlib.util
from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import EngineName
from latentcli.errors import missing_extra

_PORT = 8350  # default port; if it is taken, any free port


def explore(
    model: str | None = opt.model,
    images: Path | None = opt.option("A folder of images to make vectors from, beside samples.", metavar="DIR"),
    static: Path | None = opt.option(
        "Write one page that works without latentcli and without a network, instead of serving one.",
        metavar="FILE.html",
    ),
    mapped: Path | None = opt.option(
        "With --static: the page also holds a map of the images of a folder.", "--map", metavar="DIR"
    ),
    port: int | None = opt.option(f"Port. (default: {_PORT}, or any free one)", callback=opt.between(1, 65535)),
    browser: bool = opt.option("Open the browser.", "--browser/--no-browser", default=True),
    engine: EngineName = opt.engine,
    force: bool = opt.force,
) -> None:
    """Explore a model in the browser: sliders, photos, walks, new vectors.

    Examples:

        latentcli explore --model faces
        latentcli explore --model digits --static digits.html

    The page is served to this machine alone, until Ctrl-C.
    """
    opt.refuse(
        (static and (images or port), "--static writes a page and serves none; leave out --images and --port"),
        (mapped and not static, "--map goes with --static FILE.html; or see latentcli map"),
    )
    console = Console(as_json=False)
    if static is None and not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        raise missing_extra("explore", "explore", "write a page with --static")
    entry = choose_model(console, model, (), engine, [images, mapped])

    if static is not None:
        from latentcli.explorer import static_page

        console.run(static_page.write(entry, static, force, mapped), "drawing")
        return

    import secrets
    import webbrowser

    from latentcli.explorer import server
    from latentcli.explorer.session import Session

    with server.listen(port, _PORT) as listener:
        console.introduce()
        session = Session(entry, images)
        token = secrets.token_urlsafe(16)
        address = f"http://{server.HOST}:{listener.getsockname()[1]}/?token={token}"
        is_open = browser and webbrowser.open(address)
        console.say(f"{'opened' if is_open else 'open this'} in your browser, on this machine alone; Ctrl-C ends it:")
        console.line(address)
        server.serve(session, listener, token)
