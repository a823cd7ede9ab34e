"""`latentcli encode`: images to latents."""

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model


def encode(
    images: opt.Images,
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    as_json: opt.Json = False,
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
