"""`latentcli decode`: latents back to images."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model


def decode(
    latents: Path = opt.argument("A `.latents.safetensors` file."),
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    show: opt.Show = None,
    as_json: opt.Json = False,
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
