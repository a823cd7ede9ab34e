"""How the bundled model `faces` was made, from UTKFace crops and their attributes.

    python recipes/faces.py DATA

DATA holds `faces/` (128x128 JPEG) and `attributes.csv` (file, age, male, smile, glasses). Run it in an empty folder: it
writes `models/faces/`, which is then copied into the repository. An interrupted training goes on when it is run again.
"""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from latentcli import ConceptVector, ModelConfig, tensorfile
from latentcli.card import model_card
from latentcli.model.modelfile import KIND, load_model, save_model

MODEL = Path("models/faces")
VECTORS = {"smile": (0.9, 0.1), "glasses": (0.95, 0.1)}  # column: shows it from here on, does not up to here
REMOVED = ("resume.safetensors", "history.jsonl", "reconstructions.png")  # large, or made of the data set's photos
NOTES = """
## Concept vectors

| vector | images with / without | gap in within-class sd | held-out AUC | of a shrinkage LDA |
|---|---|---|---|---|
{vectors}

Fitted as the difference of the class means, on the training images only, with labels from `attributes.csv`: scores of
small convolutional networks, of which about one in twenty of `glasses` is wrong.

## Data and licence

UTKFace (Zhang, Song and Qi, "Age progression/regression by conditional adversarial autoencoder", CVPR 2017): aligned
face photos from the web, for non-commercial research. **The weights and the vectors are for non-commercial research,
too**; the MIT licence of the code does not cover them. The weights are stored in half precision, which moves the
-ELBO by less than 0.1 nats. The number of steps is what 20 minutes allow on two cores of an Intel Xeon (AVX-512, no
AMX, torch 2.13.0).

## Limits

It expects an upright face cut as the training faces are: a face detector's box, enlarged by a tenth; expect less of
anything else. At 64 pixels fine detail is not in the model. The vectors carry what else differs between their two sets:
by the table's labels {smile_men} of the smiling and {unsmiling_men} of the unsmiling faces are men, {glasses_old} of
those with glasses and {plain_old} of those without are 60 or older. Do not use it to judge, identify or sort people.
Edited pictures are synthetic: say so.
"""


def latentcli(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "latentcli", *map(str, arguments)], check=True)


def publish(path: Path, **header: object) -> None:
    """Store the weights in half precision, with more in the header."""
    model = load_model(path)
    summary = {name: value for name, value in model.header.items() if name not in ("format", "kind", "sha256")}
    save_model(path, model.vae, model.prior, summary | header, half=True)


def shares(data: Path) -> dict[str, str]:
    """What goes along with the labels, in per cent of the labelled faces."""
    with (data / "attributes.csv").open(newline="") as file:
        rows = [
            {name: value if name == "file" else float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]

    def share(concept: str, shows: bool, of: Callable[[dict], bool]) -> str:
        above, below = VECTORS[concept]
        chosen = [row for row in rows if (row[concept] >= above if shows else row[concept] <= below)]
        return f"{100 * sum(map(of, chosen)) / len(chosen):.0f} %"

    return {
        "smile_men": share("smile", True, lambda row: row["male"] == 1),
        "unsmiling_men": share("smile", False, lambda row: row["male"] == 1),
        "glasses_old": share("glasses", True, lambda row: row["age"] >= 60),
        "plain_old": share("glasses", False, lambda row: row["age"] >= 60),
    }


def write_card(data: Path) -> None:
    header = tensorfile.read_header(MODEL / "model.safetensors", KIND)
    rows = []
    for concept in VECTORS:
        vector = ConceptVector.load(MODEL / "vectors" / f"{concept}.safetensors")
        counts = f"{vector.positives} / {vector.negatives}"
        rows.append(f"| `{concept}` | {counts} | {vector.gap_in_sigma:.2f} | {vector.auc:.3f} | {vector.auc_lda:.3f} |")
    card = model_card("faces", ModelConfig.from_json(header["config"]), header["training"])
    card = (
        card.partition("What it draws is synthetic")[0].rstrip()
        + "\n"
        + NOTES.format(vectors="\n".join(rows), **shares(data))
    )
    (MODEL / "README.md").write_text(card)


def main() -> None:
    data = Path(sys.argv[1])
    latentcli("train", data / "faces", "--name", "faces", "--size", "64", "--minutes", "20")
    file = MODEL / "model.safetensors"
    publish(file)
    for concept, (above, below) in VECTORS.items():
        thresholds = ("--above", str(above), "--below", str(below))
        table = ("--labels", data / "attributes.csv", "--column", concept, *thresholds, "--root", data / "faces")
        latentcli("vectors", "fit", concept, *table, "--model", MODEL, "--force")
    publish(file, bundled=True)
    write_card(data)
    for name in REMOVED:
        (MODEL / name).unlink(missing_ok=True)
    print(MODEL, tensorfile.read_header(file, KIND)["model_id"])


if __name__ == "__main__":
    main()
