"""How the bundled model `faces` was made, from UTKFace crops and their attributes.

    python recipes/faces.py DATA

DATA holds `faces/` (128x128 JPEG) and `attributes.csv` (file, age, male, smile, glasses). Run it in an empty folder: it
writes `models/faces/`, which is then copied into the repository. An interrupted training goes on when it is run again.
"""

import subprocess
import sys
from pathlib import Path

from latentcli import tensorfile
from latentcli.model.modelfile import KIND, load_model, save_model

MODEL = Path("models/faces")
VECTORS = {"smile": (0.9, 0.1), "glasses": (0.95, 0.1)}  # column: shows it from here on, does not up to here
REMOVED = ("resume.safetensors", "reconstructions.png")  # large, or made of the data set's photos


def latentcli(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "latentcli", *map(str, arguments)], check=True)


def publish(path: Path, **header: object) -> None:
    """Store the weights in half precision, with more in the header."""
    model = load_model(path)
    summary = {name: value for name, value in model.header.items() if name not in ("format", "kind", "sha256")}
    save_model(path, model.vae, model.prior, summary | header, half=True)


def main() -> None:
    data = Path(sys.argv[1])
    latentcli("train", data / "faces", "--name", "faces", "--size", "64", "--minutes", "30")
    file = MODEL / "model.safetensors"
    publish(file)
    for concept, (above, below) in VECTORS.items():
        thresholds = ("--above", str(above), "--below", str(below))
        table = ("--labels", data / "attributes.csv", "--column", concept, *thresholds, "--root", data / "faces")
        latentcli("vectors", "fit", concept, *table, "--model", MODEL, "--force")
    publish(file, bundled=True)
    for name in REMOVED:
        (MODEL / name).unlink(missing_ok=True)
    print(MODEL, tensorfile.read_header(file, KIND)["model_id"])


if __name__ == "__main__":
    main()
