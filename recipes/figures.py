"""The figures of docs/: planes, maps, walks, grids and traversals, each one command; and the page of digits.

    python recipes/figures.py DATA [FIGURE...]

DATA holds `emoji/`, `avatars/`, `avatars.csv` and `mnist/`. Shown are samples of the bundled models, Fluent Emoji by
Microsoft (MIT), and avatars drawn with DiceBear's Toon Head by Johan Melin (CC BY 4.0).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
MAPPED = 600  # avatars
QUALITY = 82  # of WebP

COMMANDS = {
    "plane-15": "map --model digits-plane",
    "plane-30": "map --model digits-plane --cells 30",
    "plane-vectors": "map --model faces --axes smile,old --of seed:0 --cells 9 --range 2",
    "plane-components": "map --model faces --cells 9",
    "honeycomb": "map --model faces --cells 13x15 --range 2.5 --shape hexagons --no-labels",
    "disc": "map --model digits-plane --cells 25 --shape disc --no-labels",
    "fan": "map --model digits --axes fan --cells 24 --no-labels",
    "map-emoji": "map {data}/emoji --model emoji --grid",
    "map-avatars": "map {few} --model avatars --table {data}/avatars.csv --column hair",
    "nearest": "map {data}/emoji --model emoji --near {data}/emoji/{emoji} --n 15 --grid --columns 5",
    "strip": "interpolate seed:0-2 --steps 7 --labels --model faces",
    "grid": "interpolate seed:0-8 --grid 3x3 --steps 5 --model avatars",
    "corners": "interpolate seed:0-3 --corners --steps 7 --model faces",
    "analogy": "interpolate seed:0 seed:3 seed:7 --analogy --steps 7 --model faces",
    "chain": "interpolate seed:0-4 --grid 3x3 --chain --steps 4 --model digits --scale 2",
    "walk": "interpolate seed:0-5 --loop --method spline --even --seconds 6 --fps 12 --scale 2 --model faces",
    "traverse": "traverse --model digits --scale 2",
    "components": "traverse --axes pcs --rows 6 --model faces",
    "discover": "vectors discover --by pictures --n 8 --model faces",
    "sheet": "sample --n 12 --columns 6 --labels --scale 2 --title Avatars --model avatars",
    "near": "sample --near seed:3 --spread 0.6 --n 12 --columns 6 --model avatars",
    "strengths": "apply-vector seed:0 --grid smile=-1:2:4 --grid glasses=0:1.5:4 --model faces",
}


def latentcli(command: str, home: Path, *more: object) -> None:
    """Run it; vectors of bundled models are kept in a home of their own."""
    arguments = [*command.split(), *map(str, more)]
    environment = os.environ | {"XDG_DATA_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "latentcli", *arguments], check=True, env=environment)


def write_page(data: Path, home: Path) -> None:
    """The page of digits in docs/explore.md, with a vector for each digit."""
    latentcli("vectors fit --model digits --folders", home, data / "mnist" / "train")
    latentcli("explore --model digits --force --static", home, FIGURES.parent / "explore-digits.html")


def main() -> None:
    data, wanted = Path(sys.argv[1]), sys.argv[2:] or list(COMMANDS)
    FIGURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        home, few = Path(name, "home"), Path(name, "few")
        if wanted == list(COMMANDS):
            write_page(data, home)
        few.mkdir()
        for path in sorted((data / "avatars").glob("*.png"))[:MAPPED]:
            shutil.copy(path, few)
        emoji = sorted(path.name for path in (data / "emoji").glob("*.webp"))[0]
        for figure in wanted:
            command = COMMANDS[figure].format(data=data, few=few, emoji=emoji)
            if figure == "walk":
                latentcli(f"{command} --force", home, "--output", FIGURES / "walk.webp")
                continue
            drawn = Path(name, f"{figure}.png")
            latentcli(command, home, "--output", drawn)
            with Image.open(drawn) as picture:
                picture.save(FIGURES / f"{figure}.webp", quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
