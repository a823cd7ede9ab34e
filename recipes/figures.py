"""The pictures of docs/gallery.md: runs the command below each and keeps what it draws.

    python recipes/figures.py DATA [PICTURE...]

DATA holds `emoji/`, `avatars/` and `avatars.csv`: Fluent Emoji by Microsoft (MIT), and avatars drawn with DiceBear's
Toon Head by Johan Melin (CC BY 4.0). Named pictures (`walk`, `samples-faces`) are made alone.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MAPPED = 600  # avatars
LONGEST = 1600  # pixels of a picture's longer side
QUALITY = 82  # of WebP
FIGURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)(?:(?!!\[).)*?```sh\nlatentcli ([^\n]+)\n```", re.DOTALL)


def figures() -> dict[Path, list[str]]:
    """The pictures of the gallery, and the words of the command that makes each."""
    found = FIGURE.findall((DOCS / "gallery.md").read_text())
    return {DOCS / picture: shlex.split(command) for picture, command in found}


def furnish(folder: Path, data: Path) -> None:
    """Everything that the commands name."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "avatars.csv").symlink_to(data / "avatars.csv")
    for name, count in (("emoji", None), ("avatars", MAPPED)):
        (folder / name).mkdir()
        for path in sorted((data / name).iterdir())[:count]:
            shutil.copy(path, folder / name)
    shutil.copy(min((data / "emoji").iterdir()), folder / "key.webp")


def draw(command: list[str], folder: Path) -> Path:
    """Run a command in the folder; vectors of bundled models are kept there, too. Returns its picture."""
    result = subprocess.run(
        [sys.executable, "-m", "latentcli", *command, "--force"],
        check=True, cwd=folder, env=os.environ | {"XDG_DATA_HOME": str(folder)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return folder / next(line for line in result.stdout.splitlines() if line.endswith((".png", ".webp", ".jpg")))


def keep(drawn: Path, figure: Path) -> None:
    """Store a picture as WebP, no larger than a page can show; an animation as it is."""
    with Image.open(drawn) as picture:
        if getattr(picture, "is_animated", False):
            shutil.copy(drawn, figure)
            return
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        picture.save(figure, quality=QUALITY, method=6)


def main() -> None:
    data, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:]
    (DOCS / "figures").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        furnish(Path(name), data)
        for figure, command in figures().items():
            if not wanted or figure.stem in wanted:
                keep(draw(command, Path(name)), figure)


if __name__ == "__main__":
    main()
