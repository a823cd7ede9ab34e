"""How the bundled model `faces` was made, from UTKFace crops and their attributes.

    python recipes/faces.py DATA

DATA holds `faces/` (128x128 JPEG) and `attributes.csv` (file, age, male, smile, glasses). Run it in an empty folder: it
writes `models/faces/`, which is then copied into the repository. An interrupted training goes on when it is run again.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from latentcli import ConceptVector, ModelConfig, tensorfile
from latentcli.catalog import read_model_header
from latentcli.model.modelfile import KIND, load_model, save_model
from latentcli.training.results import model_card

MODEL = Path("models/faces")
TRAINING = ("--size", "64", "--minutes", "30", "--beta", "10", "--aligned")
VECTORS = {  # what shows each, and what it is balanced by
    "smile": "--column smile --above 0.9 --below 0.1 --balance-by male --balance-by age",
    "glasses": "--column glasses --above 0.95 --below 0.1 --balance-by male --balance-by age",
    "old": "--column age --above 60 --between 20,35 --balance-by male",
}
KEPT = ("README.md", "model.safetensors", "samples.png", "vectors")  # the rest is large, or made of photos
NOTES = """
## Concept vectors

| vector | images with / without | gap in within-class sd | held-out AUC | of a shrinkage LDA | edits move, in sd |
|---|---|---|---|---|---|
{vectors}

Differences of class means on the training images, `smile` and `glasses` within cells of men and women and quarters of
age, `old` (60 and older against 20 to 35) within men and women. Labels from `attributes.csv`: ages and sexes as the
set's authors gave them, the rest scores of small convolutional networks, of which about one in twenty of `glasses` is
wrong. The last column: held-out faces are edited by +1, decoded, encoded again and judged by discriminants.

## Data and licence

UTKFace (Zhang, Song and Qi, "Age progression/regression by conditional adversarial autoencoder", CVPR 2017): aligned
face photos from the web, for non-commercial research. **The weights and the vectors are for non-commercial research,
too**; the MIT licence of the code does not cover them. The weights are stored in half precision, which moves the
-ELBO by less than 0.1 nats. The number of steps is what 30 minutes allow on two cores of an Intel Xeon (AVX-512, no
AMX, torch 2.13.0). A beta of 10 costs a little sharpness and makes the latents rounder: concept vectors separate
better, and samples from N(0, I) come nearer to faces.

## Limits

It expects an upright face cut as the training faces are: the box of dlib's frontal detector, enlarged 1.106 times, its
middle at (0.503, 0.491) of the crop. `latentcli edit` finds such faces; expect less of anything else. At 64 pixels fine
detail is not in the model. The vectors still carry what the columns that they are balanced by do not tell. Do not use
it to judge, identify or sort people. Edited pictures are synthetic: say so.
"""


def latentcli(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "latentcli", *map(str, arguments)], check=True)


def publish(path: Path, **header: object) -> None:
    """Store the weights in half precision, with more in the header."""
    model = load_model(path)
    own = tensorfile.read_header(path, KIND)
    summary = {name: value for name, value in own.items() if name not in ("format", "kind", "sha256")}
    save_model(path, model.vae, model.prior, summary | header, half=True)


def write_card() -> None:
    header = read_model_header(MODEL / "model.safetensors")
    rows = []
    for concept in VECTORS:
        vector = ConceptVector.load(MODEL / "vectors" / f"{concept}.safetensors")
        found = vector.diagnostics
        counts = f"{vector.positives} / {vector.negatives}"
        shifts = ", ".join(f"{shift.concept} {shift.shift:+.2f}" for shift in (found.own_shift, *found.side_effects))
        figures = f"{vector.gap_in_sigma:.2f} | {found.auc:.3f} | {found.auc_lda:.3f} | {shifts}"
        rows.append(f"| `{concept}` | {counts} | {figures} |")
    card = model_card("faces", ModelConfig.from_json(header.config), header.training)
    card = card.partition("What it draws is synthetic")[0].rstrip() + "\n" + NOTES.format(vectors="\n".join(rows))
    (MODEL / "README.md").write_text(card)


def main() -> None:
    data = Path(sys.argv[1])
    latentcli("train", data / "faces", "--name", "faces", *TRAINING)
    file = MODEL / "model.safetensors"
    publish(file, name="faces")
    shutil.rmtree(MODEL / "vectors", ignore_errors=True)
    latents = MODEL / "faces.latents.safetensors"
    latentcli("encode", data / "faces", "--model", MODEL, "--output", latents, "--force")
    table = ("--labels", data / "attributes.csv", "--root", data / "faces", "--latents", latents)
    for concept, what in VECTORS.items():
        latentcli("vectors", "fit", concept, *table, *what.split(), "--model", MODEL)
    latentcli("sample", "--model", MODEL, "--output", MODEL / "samples.png", "--force")
    publish(file, bundled=True)
    write_card()
    for path in MODEL.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print(MODEL, read_model_header(file).model_id)


if __name__ == "__main__":
    main()
