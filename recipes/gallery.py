"""The samples shown in the README: seeds 0 to 63 of four models, each trained for ten minutes with the defaults.

    python recipes/gallery.py DATA

DATA holds `faces/`, `emoji/`, `avatars/`, `mnist/train` and `mnist/test`. Models are kept under ./models/, and pictures
are written into `docs/`.
"""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
MODELS = {
    "faces": ["{data}/faces", "--size", "64"],
    "digits": ["{data}/mnist/train", "--held-out", "{data}/mnist/test"],
    "emoji": ["{data}/emoji", "--size", "64"],
    "avatars": ["{data}/avatars", "--size", "64"],
}


def latentcli(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "latentcli", *map(str, arguments)], check=True)


def main() -> None:
    data = sys.argv[1]
    for name, options in MODELS.items():
        model = f"gallery-{name}"
        latentcli("train", *(option.format(data=data) for option in options), "--minutes", 10, "--name", model)
        latentcli("sample", "--model", model, "--output", DOCS / f"samples-{name}.webp", "--force")


if __name__ == "__main__":
    main()
