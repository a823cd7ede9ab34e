"""The pictures of docs/merging.md, from the example photos and the bundled model.

`python docs/generate_pictures.py` writes `merge-*.jpg` into this folder. Only the command line is used, so the
pictures show what a user gets.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
HOPPER, FACE = EXAMPLES / "grace-hopper.jpg", EXAMPLES / "grace-hopper-face.png"
AROUND = (112, 74, 432, 394)  # pixels of the portrait: her head
MOUTH = (195, 230, 345, 330)  # pixels of the portrait: her mouth
SIDE = 200  # pixels of one picture in a row
QUALITY = 90  # of the JPEG files
SMILE = ("--vector", "smile", "--strength", "1.5", "--model", "faces")
AMPLIFIED = 3  # times the difference, so that it can be seen


def latentcli(*arguments: str | Path) -> Image.Image:
    """Run a command in an empty folder and return the picture that it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "latentcli", *map(str, arguments)]
        result = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True)
        with Image.open(Path(folder, result.stdout.split()[0])) as picture:
            return picture.convert("RGB")


def row(pictures: list[Image.Image], name: str, gap: int = 4) -> None:
    """Write pictures side by side, each SIDE pixels high."""
    scaled = [
        picture.resize((round(picture.width * SIDE / picture.height), SIDE), Image.Resampling.BICUBIC)
        for picture in pictures
    ]
    sheet = Image.new("RGB", (sum(picture.width + gap for picture in scaled) - gap, SIDE), "white")
    left = 0
    for picture in scaled:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    sheet.save(DOCS / name, quality=QUALITY)


def difference(before: Image.Image, after: Image.Image) -> Image.Image:
    """Mid-gray where nothing changes, brighter or darker where it does, amplified."""
    more, less = ImageChops.subtract(after, before), ImageChops.subtract(before, after)
    gray = Image.new("RGB", before.size, (128, 128, 128))
    up, down = (change.point(lambda level: min(255, AMPLIFIED * level)) for change in (more, less))
    return ImageChops.subtract(ImageChops.add(gray, up), down)


def main() -> None:
    """Write all of them."""
    photo = Image.open(HOPPER).convert("RGB")
    edited = latentcli("edit", HOPPER, *SMILE)
    before = latentcli("apply-vector", FACE, "--vector", "smile=0", "--model", "faces")
    after = latentcli("apply-vector", FACE, "--vector", "smile=1.5", "--model", "faces")
    merged = [picture.crop(AROUND) for picture in (photo, edited, difference(photo, edited))]
    row([before, after, difference(before, after)], "merge-decodings.jpg")
    row(merged, "merge-result.jpg")
    modes = [latentcli("edit", HOPPER, *SMILE, "--merge", mode) for mode in ("ratio", "decode")]
    row([picture.crop(AROUND) for picture in (edited, *modes)], "merge-modes.jpg")
    details = [latentcli("edit", HOPPER, *SMILE, "--detail", detail) for detail in ("0", "1")]
    row([picture.crop(MOUTH) for picture in (photo, details[0], edited, details[1])], "merge-detail.jpg")


if __name__ == "__main__":
    main()
