"""Models of digits, emoji and avatars whose figures are in docs/, each trained for ten minutes with the defaults.

    python recipes/gallery.py DATA

DATA holds `emoji/`, `avatars/`, `mnist/train` and `mnist/test`. Models are kept under ./models/; figures.py draws them.
"""

import subprocess
import sys

MODELS = {
    "digits": ["{data}/mnist/train", "--held-out", "{data}/mnist/test"],
    "emoji": ["{data}/emoji", "--size", "64"],
    "avatars": ["{data}/avatars", "--size", "64"],
}


def latentcli(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "latentcli", *map(str, arguments)], check=True)


def main() -> None:
    data = sys.argv[1]
    for name, options in MODELS.items():
        arguments = [option.format(data=data) for option in options]
        latentcli("train", *arguments, "--minutes", 10, "--name", f"gallery-{name}")


if __name__ == "__main__":
    main()
