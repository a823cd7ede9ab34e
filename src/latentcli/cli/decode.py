"""Command `latentcli decode`: images from a file of latents."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import EngineName


def decode(
    latents: Path = opt.argument("A `.latents.safetensors` file."),
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Turn latents back into images, one PNG each.

    Example:

        latentcli decode photos.latents.safetensors --output photos-again/

    Writes `<stem>-decoded/<name>.png`; pictures that exist in a folder given with -o are kept.
    """
    console = Console(as_json, show)
    entry = choose_model(console, model, (), engine, [latents])

    from latentcli.pipelines import encode

    console.run(encode.decode(entry, latents, output, force), "decoding")
