"""`latentcli encode`: images to latents."""

from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import EngineOption, ForceOption, ImagesArg, JsonOption, ModelOption, OutputOption


def encode(
    images: ImagesArg,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
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
    console.close()
