"""Command `latentcli encode`: a file of latents from images."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import EngineName


def encode(
    images: list[Path] = opt.images,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    as_json: bool = opt.as_json,
) -> None:
    """Turn images into latents: the posterior means, in one file.

    Examples:

        latentcli encode face.jpg
        latentcli encode photos/ --output photos.latents.safetensors

    Writes `<stem>.latents.safetensors`, or `images.latents.safetensors` for several arguments.
    """
    console = Console(as_json)
    entry = choose_model(console, model, (), engine, images)

    from latentcli.pipelines import encode

    console.run(encode.encode(entry, images, output, force), "encoding")
