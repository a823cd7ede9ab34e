"""Static page: the explorer of a model as one HTML file that works offline, with decoder and encoder inside.

Decoder and encoder are ONNX graphs with weights of 8 significant bits, run by ONNX Runtime Web, which is shipped in
`ort/`. The principal components, which both graphs contain, are stored once.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latentcli.data.sources import find_images
from latentcli.events import Event, Wrote
from latentcli.explorer.session import TYPICAL, Session, describe_vector
from latentcli.model import graphs
from latentcli.model.onnx import compacted
from latentcli.pipelines.map import page_of
from latentcli.pipelines.outputs import check_page
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import output_file, write_whole
from latentcli.text import shown, stored

SEEDS = 256  # samples whose latents the page holds
_HERE = Path(__file__).parent


def write(entry: ModelEntry, target: Path, force: bool, folder: Path | None = None) -> Iterator[Event]:
    """Write the explorer page of a model, with a map of the images in `folder` if given.

    Raises OutputExists for a `target` that exists, unless forced; ImageError for a folder without images.
    """
    target = output_file(check_page(target), target, force)
    if folder is not None:
        find_images(folder)
    session = Session(entry)
    z, map_page = (None, "") if folder is None else (yield from page_of(session.model, folder))
    write_whole(target, stored(build(session, z, map_page)))
    yield Wrote(target)


def build(session: Session, mapped: np.ndarray | None = None, map_page: str = "") -> str:
    """HTML document of the explorer; `mapped` are latents (n, latent_dim) of the images on the map in `map_page`."""
    model = session.model
    vectors = session.vectors
    latents = model.prior.sample(range(SEEDS))
    images = np.empty((0, model.config.latent_dim)) if mapped is None else mapped
    numbers = np.concatenate([latents, *(vector.direction[None] for vector in vectors), images]).astype("<f4")
    low, high = TYPICAL
    described = [
        describe_vector(vector) | {"low": float(vector.percentiles[low]), "high": float(vector.percentiles[high])}
        for vector in vectors
    ]
    config = model.config
    shared = compacted(model.weights["linear.basis"]).tobytes() if config.linear else b""  # bytes in both networks
    networks = {
        "decoder": graphs.decoder(config, model.weights, compact=True),
        "encoder": graphs.encoder(config, model.weights, compact=True),
    }
    cuts = {name: network.index(shared) for name, network in networks.items()}
    facts = {
        "name": shown(model.name),
        **{field: getattr(config, field) for field in ("width", "height", "channels", "crop", "background")},
        "dimensions": config.latent_dim,
        "faces": False,
        "images": 0,
        "mapped": len(images),
        "seeds": SEEDS,
        "vectors": described,
        "cuts": cuts,
    }
    contents = {
        "runtime": (_HERE / "ort" / "ort.wasm.bundle.min.mjs.gz").read_bytes(),
        "wasm": (_HERE / "ort" / "ort-wasm-simd-threaded.wasm.gz").read_bytes(),
        "shared": gzip.compress(shared, 9, mtime=0),
        "numbers": gzip.compress(numbers.tobytes(), 9, mtime=0),
    }
    for name, network in networks.items():
        contents[name] = gzip.compress(network.replace(shared, b"", 1), 9, mtime=0)
    if map_page:
        contents["map-page"] = gzip.compress(stored(map_page), 9, mtime=0)
    page = (_HERE / "page" / "index.html").read_text()
    style = (_HERE / "page" / "style.css").read_text()
    data = json.dumps(facts, allow_nan=False).replace("<", "\\u003c")
    blocks = [f'<script type="application/json" id="model">{data}</script>']
    blocks += [
        f'<script type="text/plain" id="{name}">{base64.b64encode(content).decode()}</script>'
        for name, content in contents.items()
    ]
    scripts = [(_HERE / "static.js").read_text(), (_HERE / "page" / "app.js").read_text()]
    blocks += [f"<script>\n{script}</script>" for script in scripts]
    page = page.replace('<link rel="stylesheet" href="style.css">', f"<style>\n{style}</style>")
    return page.replace('<script src="app.js"></script>', "\n".join(blocks))
