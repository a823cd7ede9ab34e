"""How the README's pictures were made, from `examples/` and the bundled models.

    python recipes/pictures.py

Writes into `docs/`. The sheets of samples show seeds 0 to 63 as they come.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from latentcli.figures.sheet import sheet
from latentcli.images import write_picture

ROOT = Path(__file__).parents[1]
EXAMPLES, DOCS = ROOT / "examples", ROOT / "docs"
FACES = ("astronaut-face.png", "grace-hopper-face.png")
SHOWN = (112, 74, 432, 394)  # of Grace Hopper's portrait
SAMPLED = ("digits", "avatars", "emoji", "faces")
QUALITY = 85  # of WebP


def latentcli(*arguments: str | Path) -> list[Image.Image]:
    """Run a command in a folder of its own; the pictures it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "latentcli", *map(str, arguments)],
            check=True, cwd=folder, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        pictures = [Image.open(Path(folder, line)) for line in done.stdout.split()]
        for picture in pictures:
            picture.load()
    return pictures


def edits() -> Image.Image:
    photo = EXAMPLES / "grace-hopper.jpg"
    edited = [
        latentcli("edit", photo, "--vector", "smile", "--strength", strength, "--model", "faces")[0]
        for strength in ("1", "1.5")
    ]
    return sheet([picture.convert("RGB").crop(SHOWN) for picture in (Image.open(photo), *edited)], columns=3, gap=4)


def strengths() -> Image.Image:
    rows = [
        latentcli("apply-vector", EXAMPLES / face, "--vector", f"smile={strength}", "--model", "faces")[0]
        for face in FACES
        for strength in (-1, 0, 1, 2)
    ]
    return sheet(rows, columns=4, gap=4)


def reconstruction() -> Image.Image:
    face = EXAMPLES / FACES[0]
    decoded = latentcli("apply-vector", face, "--vector", "smile=0", "--model", "faces")[0]
    seen = Image.open(face).resize(decoded.size, Image.Resampling.LANCZOS)
    return sheet([seen, decoded], columns=2, gap=4)


def main() -> None:
    write_picture(edits(), DOCS / "edit.jpg", quality=92)
    write_picture(strengths(), DOCS / "apply-vector.png")
    write_picture(reconstruction(), DOCS / "reconstruction.png")
    seeds = ("seed:7", "seed:13", "seed:42")
    write_picture(latentcli("interpolate", *seeds, "--steps", "7", "--model", "faces")[0], DOCS / "interpolate.png")
    for name in SAMPLED:
        drawn = latentcli("sample", "--model", name)[0]
        write_picture(drawn, DOCS / f"samples-{name}.webp", quality=QUALITY)


if __name__ == "__main__":
    main()
