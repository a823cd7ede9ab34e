"""The pictures of the docs that are more than one command: the hero, drawings in the guides, and how edits are merged.

    python recipes/pictures.py [PICTURE...]

Made from `examples/` and the bundled models with the command line, so that they show what a user gets. The pages are
shown by Chromium, through playwright.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from latentcli.storage.latents import Latents

ROOT = Path(__file__).parents[1]
EXAMPLES, DOCS = ROOT / "examples", ROOT / "docs"
HOPPER, COLLINS = EXAMPLES / "grace-hopper.jpg", EXAMPLES / "astronaut.png"
HOPPER_FACE, COLLINS_FACE = EXAMPLES / "grace-hopper-face.png", EXAMPLES / "astronaut-face.png"
HOPPER_HEAD, COLLINS_HEAD = (112, 74, 432, 394), (130, 30, 320, 220)  # pixels of the photos
MOUTH = (195, 230, 345, 330)  # pixels of Grace Hopper's portrait
FACES = ("--model", "faces")
SMILE = ("--vector", "smile", *FACES)
SIDE, GAP = 300, 4  # pixels of a picture in a row, and between two
ROW_OF_MERGING = 200  # pixels
_LOADED = 3000  # milliseconds until a page is there
AMPLIFIED = 3  # times a difference, so that it can be seen
QUALITY = 90
INK, CORAL, TEAL = "#7c8a95", "#ff7a59", "#2fb3a2"  # seen on white and on black


def latentcli(*arguments: str | Path) -> list[Image.Image]:
    """Run a command in a folder of its own; the pictures it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "latentcli", *map(str, arguments)]
        done = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True)
        return [Image.open(Path(folder, line)).convert("RGB") for line in done.stdout.split()]


def row(pictures: Sequence[Image.Image], height: int = SIDE) -> Image.Image:
    """Side by side, all of one height."""
    scaled = [
        picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS)
        for picture in pictures
    ]
    joined = Image.new("RGB", (sum(picture.width + GAP for picture in scaled) - GAP, height), "white")
    left = 0
    for picture in scaled:
        joined.paste(picture, (left, 0))
        left += picture.width + GAP
    return joined


def edited(photo: Path, head: tuple[int, ...], *options: str) -> Image.Image:
    """The head of an edited photo."""
    return latentcli("edit", photo, *options, *FACES)[0].crop(head)


def head(photo: Path, box: tuple[int, ...]) -> Image.Image:
    return Image.open(photo).convert("RGB").crop(box)


def hero() -> Image.Image:
    """Two people, each as photographed and edited; below, what the model of avatars draws, as it comes."""
    above = row(
        [
            named("photo", head(HOPPER, HOPPER_HEAD)),
            named("smile", edited(HOPPER, HOPPER_HEAD, "--vector", "smile=0.85")),
            named("photo", head(COLLINS, COLLINS_HEAD)),
            named("glasses", edited(COLLINS, COLLINS_HEAD, "--vector", "glasses=1.3")),
        ]
    )
    drawn = latentcli("sample", "--model", "avatars", "--n", "10", "--each")
    below = row(drawn, (above.width - GAP * (len(drawn) - 1)) // len(drawn))
    return stack([above, below.resize((above.width, below.height))])


def named(word: str, picture: Image.Image) -> Image.Image:
    """With a word in its lower left corner."""
    picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    pen, font = ImageDraw.Draw(picture, "RGBA"), ImageFont.load_default(SIDE / 14)
    width = pen.textlength(word, font)
    pen.rounded_rectangle((8, SIDE - 38, 24 + width, SIDE - 8), 6, fill=(0, 0, 0, 150))
    pen.text((16, SIDE - 23), word, "white", font, anchor="lm")
    return picture


def vectors_report() -> Image.Image:
    """The top of the page that `vectors report` writes."""
    return page(("vectors", "report", *FACES), (900, 600), "window.scrollTo(0, 480)")


def explore() -> Image.Image:
    """The page that `explore --static` writes."""
    moved = "startFrom({ seed: 2 }, {})"
    return page(("explore", "--static", "page.html", "--model", "avatars"), (1000, 520), moved)


def page(command: Sequence[str], size: tuple[int, int], script: str) -> Image.Image:
    """The page that a command writes, in Chromium, after a script."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        words = [sys.executable, "-m", "latentcli", *command]
        done = subprocess.run(words, check=True, cwd=folder, stdout=subprocess.PIPE, text=True)
        written = next(line for line in done.stdout.splitlines() if line.endswith(".html"))
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport=dict(zip(("width", "height"), size, strict=True)))
        shown.goto(Path(folder, written).as_uri())
        shown.wait_for_timeout(_LOADED)
        shown.evaluate(script)
        shown.wait_for_timeout(_LOADED)
        content = shown.screenshot()
        browser.close()
    return Image.open(io.BytesIO(content)).convert("RGB")


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows of one width, one below the other."""
    joined = Image.new("RGB", (rows[0].width, sum(each.height + GAP for each in rows) - GAP), "white")
    top = 0
    for each in rows:
        joined.paste(each, (0, top))
        top += each.height + GAP
    return joined


def edit() -> Image.Image:
    return row([head(HOPPER, HOPPER_HEAD), edited(HOPPER, HOPPER_HEAD, "--vector", "smile")])


def too_much() -> Image.Image:
    """A strip of strengths that goes too far on purpose."""
    strengths = ("0", "0.5", "1", "1.5")
    return row([edited(HOPPER, HOPPER_HEAD, "--vector", f"smile={strength}") for strength in strengths])


def latent() -> Image.Image:
    """A face, the numbers it is encoded as, and what is decoded from them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "face.latents.safetensors")
        command = [sys.executable, "-m", "latentcli", "encode", COLLINS_FACE, *FACES, "--output", file]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        z = Latents.load(file).z[0]
    decoded = latentcli("apply-vector", COLLINS_FACE, "--vector", "smile=0", *FACES)[0]
    return row([head(COLLINS_FACE, (0, 0, 128, 128)), bars(z), decoded])


def bars(z: np.ndarray) -> Image.Image:
    """Numbers as bars up and down from the middle, between two arrows."""
    scale = 2  # drawn larger, then made smaller, for smooth edges
    drawing = Image.new("RGB", (scale * 2 * SIDE, scale * SIDE), "white")
    pen = ImageDraw.Draw(drawing)
    middle, tallest = scale * SIDE / 2, scale * SIDE * 0.4 / np.abs(z).max()
    left, right = scale * 70, scale * (2 * SIDE - 70)
    for index, number in enumerate(z):
        x = left + (right - left) * index / len(z)
        ends = sorted((middle, middle - number * tallest))
        pen.rectangle((x, ends[0], x + scale, ends[1]), fill=TEAL if number > 0 else CORAL)
    for start in (scale * 12, right + scale * 14):
        end = start + scale * 44
        pen.line((start, middle, end, middle), fill=INK, width=3 * scale)
        tip = [(end, middle), (end - scale * 12, middle - scale * 9), (end - scale * 12, middle + scale * 9)]
        pen.polygon(tip, fill=INK)
    return drawing.resize((2 * SIDE, SIDE), Image.Resampling.LANCZOS)


def concept() -> str:
    """A drawing of a concept vector: two clouds of latents, their means, and the way from one to the other."""
    random = np.random.default_rng(1)
    ends = np.array([[190.0, 170.0], [450.0, 110.0]])
    shapes = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 280" font-family="sans-serif" font-size="15">',
        '<marker id="tip" markerWidth="8" markerHeight="8" refX="5" refY="3" orient="auto">'
        f'<path d="M0 0L6 3L0 6z" fill="{INK}"/></marker>',
    ]
    for centre, colour in zip(ends, (CORAL, TEAL), strict=True):
        cloud = centre + random.normal(scale=(48, 34), size=(60, 2))
        shapes += [f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="{colour}" opacity="0.45"/>' for x, y in cloud]
    (ax, ay), (bx, by) = ends
    middle = f'x="{(ax + bx) / 2:.0f}" y="{(ay + by) / 2 - 24:.0f}"'
    shapes += [
        f'<line x1="{ax:.0f}" y1="{ay:.0f}" x2="{bx - 12:.0f}" y2="{by + 3:.0f}" stroke="{INK}" stroke-width="3.5" '
        'marker-end="url(#tip)"/>',
        f'<circle cx="{ax:.0f}" cy="{ay:.0f}" r="9" fill="{CORAL}"/>',
        f'<circle cx="{bx:.0f}" cy="{by:.0f}" r="9" fill="{TEAL}"/>',
        f'<text x="{ax:.0f}" y="268" text-anchor="middle" fill="{INK}">not smiling</text>',
        f'<text x="{bx:.0f}" y="215" text-anchor="middle" fill="{INK}">smiling</text>',
        f'<text {middle} text-anchor="middle" fill="{INK}">strength 1</text>',
        "</svg>",
    ]
    return "\n".join(shapes) + "\n"


def difference(before: Image.Image, after: Image.Image) -> Image.Image:
    """Mid-gray where nothing changes, brighter or darker where it does, amplified."""
    more, less = ImageChops.subtract(after, before), ImageChops.subtract(before, after)
    gray = Image.new("RGB", before.size, (128, 128, 128))
    up, down = (change.point(lambda level: min(255, AMPLIFIED * level)) for change in (more, less))
    return ImageChops.subtract(ImageChops.add(gray, up), down)


def decodings() -> Image.Image:
    before, after = (
        latentcli("apply-vector", HOPPER_FACE, "--vector", f"smile={strength}", *FACES)[0] for strength in ("0", "1")
    )
    return row([before, after, difference(before, after)], ROW_OF_MERGING)


def result() -> Image.Image:
    before, after = head(HOPPER, HOPPER_HEAD), edited(HOPPER, HOPPER_HEAD, "--vector", "smile=1")
    return row([before, after, difference(before, after)], ROW_OF_MERGING)


def modes() -> Image.Image:
    return row(
        [
            edited(HOPPER, HOPPER_HEAD, "--vector", "smile=1", "--merge", mode)
            for mode in ("residual", "ratio", "decode")
        ],
        ROW_OF_MERGING,
    )


def detail() -> Image.Image:
    kept = [edited(HOPPER, MOUTH, "--vector", "smile=1", "--detail", detail) for detail in ("0", "0.5", "1")]
    return row([head(HOPPER, MOUTH), *kept], ROW_OF_MERGING)


PICTURES: dict[str, Callable[[], Image.Image | str]] = {
    "hero.webp": hero,
    "figures/vectors-report.webp": vectors_report,
    "figures/explore.webp": explore,
    "figures/edit.webp": edit,
    "figures/too-much.webp": too_much,
    "figures/latent.webp": latent,
    "figures/concept.svg": concept,
    "figures/merge-decodings.webp": decodings,
    "figures/merge-result.webp": result,
    "figures/merge-modes.webp": modes,
    "figures/merge-detail.webp": detail,
}


def main() -> None:
    for name, make in PICTURES.items():
        if len(sys.argv) > 1 and Path(name).stem not in sys.argv[1:]:
            continue
        made = make()
        if isinstance(made, str):
            (DOCS / name).write_text(made)
        else:
            made.save(DOCS / name, quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
