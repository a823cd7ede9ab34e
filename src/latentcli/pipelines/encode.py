"""Encoding of images to latents, and decoding of latents to images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from latentcli.errors import ConfigError
from latentcli.events import Event, Wrote
from latentcli.imaging.images import check_writable
from latentcli.model.modelfile import batches, open_model
from latentcli.pipelines.inputs import encode_all, gather, names_of
from latentcli.pipelines.outputs import check_folder, write_decoded
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import chosen_name, output_file
from latentcli.storage.latents import SUFFIX, Latents


def encode(entry: ModelEntry, arguments: Sequence[Path], output: Path | None, force: bool) -> Iterator[Event]:
    """Encode images and folders of images, and write all latents to one file.

    Raises ImageError for a missing image, OutputExists for an output file that exists.
    """
    sources = gather(arguments)
    stem = arguments[0].resolve().stem if len(arguments) == 1 else "images"
    target = output_file(output, Path(f"{stem}{SUFFIX}"), force)
    if target.suffix != Path(SUFFIX).suffix:
        raise ConfigError(f"{target} would hold latents; give a name that ends in {SUFFIX}")
    model, names = open_model(entry), names_of(sources)
    encoded = yield from encode_all(model, [source.path for source in sources])
    if encoded is not None:
        readable = tuple(names[position] for position in encoded.positions)
        Latents(encoded.mean, readable, model.model_id).save(target)
        yield Wrote(target)


def decode(entry: ModelEntry, source: Path, output: Path | None, force: bool) -> Iterator[Event]:
    """Decode a latents file to one PNG per latent, in a new folder or in `output`; existing files stay unless forced.

    Raises FileFormatError for a damaged latents file, ModelMismatch for latents of another model.
    """
    latents = Latents.load(source)
    model = open_model(entry)
    latents.require_model(model.model_id, str(source), model.name, model.config.latent_dim)
    if output is not None and len(latents) == 1 and output.suffix:
        target = check_writable(output_file(output, output, force))
        yield from write_decoded(model, [(latents.z, [target])], 1, keep=False)
        return
    check_folder(output, len(latents))
    stem = source.name.removesuffix(".safetensors").removesuffix(".latents")
    folder = output or chosen_name(Path(f"{stem}-decoded"), force, is_folder=True)  # not the folder of the originals
    names = [PurePosixPath(name).with_suffix(".png").as_posix() for name in latents.names]
    counts = Counter(map(str.casefold, names))
    paths = [
        folder / (name if counts[name.casefold()] == 1 else f"{original}.png")  # keeps a.jpg and a.png apart
        for name, original in zip(names, latents.names, strict=True)
    ]
    yield from write_decoded(model, zip(batches(latents.z), batches(paths), strict=True), len(paths), keep=not force)
