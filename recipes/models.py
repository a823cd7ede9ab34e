"""How the bundled models were made, each by one command.

    python recipes/models.py NAME DATA [FOLDER]
    python recipes/models.py prior NAME DATA [FOLDER]
    python recipes/models.py vectors NAME DATA [FOLDER]
    python recipes/models.py measure NAME DATA [FOLDER]

NAME is one of faces, digits, digits-plane, avatars, emoji. DATA holds `faces/` and `attributes.csv`, `mnist/train` and
`mnist/test`, `avatars/` and `avatars.csv`, or `emoji/` and `emoji.csv`. The run is kept in `models/NAME` of the
current folder; when it is interrupted, the same command goes on. What is published is written into FOLDER/NAME, the
repository's `models/` unless told. `prior` only fits the prior of a published model anew, `vectors` its vectors, and
`measure` only makes its evaluation and its card anew.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt, maximum_filter

from latentcli import ConceptVector, ModelConfig
from latentcli.data.sources import held_out_then
from latentcli.evaluation.record import Record
from latentcli.figures.table import Table, cell, markdown
from latentcli.model.flow import FlowPrior
from latentcli.model.modelfile import KIND, LoadedModel, load_model, save_model
from latentcli.model.prior import Prior
from latentcli.pipelines.evaluate import Evaluated, evaluate
from latentcli.storage import tensorfile
from latentcli.storage.catalog import find_model
from latentcli.storage.history import read_model_header
from latentcli.training import images
from latentcli.training.plan import Choice, TrainRequest, choose
from latentcli.training.results import Trained, fit_prior, model_card

CARDS = Path(__file__).with_name("cards")  # what each card ends with
PUBLISHED = Path(__file__).parents[1] / "models"
EXPLANATION = """\
Differences of class means. Gaps, in standard deviations within a class and with their 95 % intervals, and AUCs are
those of images held out of training, or cross-validated where those are few; "of all" counts the images between the
thresholds of the labels, too. The last column: images are edited by +1, decoded, encoded again and judged by
discriminants.
"""
LATENTS = "images.latents.safetensors"
T = TypeVar("T")
Vectors = dict[str, list[object]]  # name, and the options of `vectors fit`

BALANCED = ["--balance-by", "male", "--balance-by", "age"]


@dataclass(frozen=True)
class Recipe:
    """How a model is made."""

    images: str  # in DATA
    training: str  # options of `train`
    vectors: Callable[[Path, Path], Vectors]  # from DATA and a folder to work in
    licence: str
    prepare: Callable[[Path], None] | None = None  # writes what training needs into the current folder
    held_out: str | None = None  # in DATA, where it is a folder of its own


def of_faces(data: Path, work: Path) -> Vectors:
    table: list[object] = [
        "--labels",
        data / "attributes.csv",
        "--root",
        data / "faces",
        "--latents",
        work / LATENTS,
    ]
    photos: list[object] = ["--positive", some_of(data / "faces", work / "photos", 2000)]
    return {
        "smile": [*table, "--column", "smile", "--above", 0.95, "--below", 0.05, *BALANCED],
        "glasses": [*table, "--column", "glasses", "--above", 0.95, "--below", 0.1, *BALANCED],
        "old": [*table, "--column", "age", "--above", 60, "--between", "20,35", "--balance-by", "male"],
        "male": [*table, "--column", "male", "--above", 1, "--below", 0, "--balance-by", "age"],
        "bright": [*photos, "--augment", "brightness"],
        "blurred": [*photos, "--augment", "blur"],
        "tilted": [*photos, "--augment", "rotate"],
    }


def of_digits(data: Path, work: Path) -> Vectors:
    train = data / "mnist" / "train"
    found = between(train, "71", "94", "83", "60", "53", "27")
    table = write_table(work / "strokes.csv", strokes(train))
    measured: list[object] = ["--labels", table, "--root", train, "--latents", work / LATENTS]
    for name in ("thick", "slanted"):
        found[name] = [*measured, "--column", name, "--extremes", 0.2, "--balance-by", "digit"]
    return found


def of_plane(data: Path, work: Path) -> Vectors:
    """Of digits that two dimensions keep apart."""
    return between(data / "mnist" / "train", "71", "83", "60", "27")


def between(folder: Path, *digits: str) -> Vectors:
    """From the second digit of each to the first."""
    return {
        f"{after}-from-{before}": ["--positive", folder / after, "--negative", folder / before]
        for after, before in digits
    }


def parts_of_avatars(data: Path) -> None:
    """The table of avatars, where an empty cell is no beard, or no rear hair."""
    with (data / "avatars.csv").open() as file:
        rows = ({name: value or "none" for name, value in row.items()} for row in csv.DictReader(file))
        write_table(Path("parts.csv"), rows)


def of_avatars(data: Path, work: Path) -> Vectors:
    changes = {  # of one value of a column into another: what is averaged over several comes out as a ghost of them all
        "smile": ("mouth", "sad", "smile"),
        "beard": ("beard", "", "fullBeard"),
        "long-hair": ("rear_hair", "", "longStraight"),
        "wink": ("eyes", "wide", "wink"),
        "bun": ("hair", "undercut", "bun"),
        "dark-skin": ("skin_color", "#f1c3a5", "#5c3829"),
        "blond": ("hair_color", "#2c1b18", "#d6b370"),
    }

    def labels(row: dict[str, str]) -> dict[str, str]:
        return {
            name: {before: "0", after: "1"}.get(row[column], "") for name, (column, before, after) in changes.items()
        }

    with (data / "avatars.csv").open() as file:
        rows = ({"file": row["file"]} | labels(row) for row in csv.DictReader(file))
        table = write_table(work / "avatars.csv", rows)
    common: list[object] = ["--labels", table, "--root", data / "avatars", "--latents", work / LATENTS]
    return {name: [*common, "--column", name, "--above", 1, "--below", 0] for name in changes}


def of_emoji(data: Path, work: Path) -> Vectors:
    with (data / "emoji.csv").open() as file:
        names = {Path(row["file"]).stem for row in csv.DictReader(file)}
    light, dark = "1f3fb", "1f3ff"
    neither, woman, man = "1f9d1", "1f469", "1f468"
    pairs = {
        "dark-skin": [(name.replace(light, dark), name) for name in names if light in name and dark not in name],
        "woman": [(name.replace(neither, woman), name) for name in names if neither in name],
        "man": [(name.replace(neither, man), name) for name in names if neither in name],
    }
    found: Vectors = {}
    for concept, couples in pairs.items():
        for after, before in couples:
            if after in names:
                for side, name in (("with", after), ("without", before)):
                    (work / concept / side).mkdir(parents=True, exist_ok=True)
                    shutil.copy(data / "emoji" / f"{name}.webp", work / concept / side / f"{before}.webp")
        found[concept] = ["--positive", work / concept / "with", "--negative", work / concept / "without", "--paired"]
    return found


RECIPES = {
    "faces": Recipe(
        "faces",
        "--size 128 --aligned --beta 20 --capacity 2 --epochs 10 --sharp",
        of_faces,
        "non-commercial research",
    ),
    "digits": Recipe(
        "mnist/train",
        "--held-out {data}/mnist/test --capacity 2 --augment --epochs 80",
        of_digits,
        "CC BY-SA 3.0",
        held_out="mnist/test",
    ),
    "digits-plane": Recipe(
        "mnist/train",
        "--held-out {data}/mnist/test --latent-dim 2 --capacity 2 --augment --epochs 80",
        of_plane,
        "CC BY-SA 3.0",
        held_out="mnist/test",
    ),
    "avatars": Recipe(
        "avatars", "--size 96 --latent-dim 128 --labels parts.csv", of_avatars, "CC BY 4.0", parts_of_avatars
    ),
    "emoji": Recipe("emoji", "--size 64 --epochs 100", of_emoji, "MIT"),
}


def some_of(folder: Path, target: Path, count: int) -> Path:
    """Copies of so many pictures of a folder, evenly spread over it."""
    pictures = sorted(path for path in folder.rglob("*") if path.is_file())
    target.mkdir()
    for path in pictures[:: max(1, len(pictures) // count)]:
        shutil.copy(path, target)
    return target


def strokes(folder: Path) -> Iterator[dict[str, str]]:
    """Width and slant of the strokes of each digit, in pixels and as pixels to the right a pixel up."""
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as picture:
            small = picture.convert("L")
            ink = np.asarray(small.resize((small.width * 4, small.height * 4), Image.Resampling.BICUBIC)) > 127
        depth = distance_transform_edt(ink)
        ridge = ink & (depth == maximum_filter(depth, 3))
        y, x = np.nonzero(ink)
        rise, run = y.mean() - y, x - x.mean()
        yield {
            "file": path.relative_to(folder).as_posix(),
            "digit": path.parent.name,
            "thick": f"{depth[ridge].mean() / 2:.4f}",
            "slanted": f"{(rise * run).sum() / max(1.0, float((rise * rise).sum())):.4f}",
        }


def write_table(path: Path, rows: Iterator[dict[str, str]]) -> Path:
    found = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return path


def latentcli(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "latentcli", *map(str, arguments)], check=True)


def store(
    source: Path, target: Path, prior: Prior | None = None, model_id: str | None = None, **header: object
) -> None:
    """Store a model again in half precision, with more in its header, and with another prior if one is given."""
    model = load_model(source)
    known = {
        name: value
        for name, value in tensorfile.read_header(source, KIND).items()
        if name not in ("format", "kind", "sha256")
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_model(target, model.vae, prior or model.prior, known | header, half=True, model_id=model_id)


def card(folder: Path, name: str) -> str:
    header = read_model_header(folder / "model.safetensors")
    assert header.training
    columns = "vector", "with / without", "gap, sd", "held-out AUC", "of all", "of an LDA", "edits move, in sd"
    rows = []
    for path in sorted((folder / "vectors").glob("*.safetensors")):
        vector = ConceptVector.load(path)
        found = vector.diagnostics
        moved = [shift for shift in (found.own_shift, *found.side_effects) if shift]
        areas = map(cell, (found.auc, found.auc_all, found.auc_lda))
        shifts = ", ".join(f"{shift.concept} {shift.shift:+.2f}" for shift in moved) or "-"
        counts = f"{vector.positives} / {vector.negatives}"
        rows.append((f"`{vector.name}`", counts, vector.gap_in_words, *areas, shifts))
    general = model_card(name, ModelConfig.from_json(header.config), header.training)
    notes = (CARDS / f"{name}.md").read_text()
    return f"{general}\n## Concept vectors\n\n{markdown(Table('', columns, rows))}\n\n{EXPLANATION}\n{notes}"


def measure(folder: Path, recipe: Recipe, data: Path) -> None:
    """Evaluate a published model on held-out images, for its header, card and record (without training images)."""
    file = folder / "model.safetensors"
    entry = find_model(str(file))
    events = evaluate(entry, data / (recipe.held_out or recipe.images))
    (found,) = (event for event in events if isinstance(event, Evaluated))
    assert entry.header.training
    store(file, file, training=asdict(replace(entry.header.training, held_out=found.metrics)))
    (folder / "README.md").write_text(card(folder, folder.name))
    print(Record(entry.header.network_id, found.evaluation, found.findings, None).save(folder))


def refit(folder: Path, recipe: Recipe, data: Path) -> None:
    """Fit the prior of a published model to the images that its training chose; the network and its id stay."""
    file = folder / "model.safetensors"
    model = load_model(file, engine="torch")
    choice = choice_of(model, recipe, data)
    found = images.images_of(choice, result_of(images.read(choice)), choice.train.rows)
    work = Path("models", folder.name)  # holds the checkpoint
    work.mkdir(parents=True, exist_ok=True)
    assert model.header.training
    run = Trained(work, model.vae, found.train, found.held_out, model.header.training, [], choice.labelled)
    fitted = result_of(fit_prior(run, lambda: False))
    assert fitted
    prior, record = fitted
    print(record)
    parts = choice.labelled.parts.columns if choice.labelled and isinstance(prior, FlowPrior) else {}
    summary = asdict(replace(model.header.training, prior=record))
    store(file, file, prior, model.model_id, training=summary, parts=parts)
    latentcli("sample", "--model", folder, "--output", folder / "samples.png", "--force")
    (folder / "README.md").write_text(card(folder, folder.name))


def fit_vectors(folder: Path, recipe: Recipe, data: Path) -> None:
    """Fit the vectors of a model anew, in a copy of it: those of a bundled model would go to the user's folder."""
    with tempfile.TemporaryDirectory() as temporary:
        work, copy = Path(temporary), Path(temporary) / folder.name
        store(folder / "model.safetensors", copy / "model.safetensors", bundled=False)
        latentcli("encode", data / recipe.images, "--model", copy, "--output", work / LATENTS)
        for concept, options in recipe.vectors(data, work).items():
            latentcli("vectors", "fit", concept, *options, "--model", copy)
        shutil.rmtree(folder / "vectors", ignore_errors=True)
        shutil.copytree(copy / "vectors", folder / "vectors")


def choice_of(model: LoadedModel, recipe: Recipe, data: Path) -> Choice:
    """The images and labels that the training of a published model chose, by the rule of its time."""
    config, table = model.config, Path("parts.csv") if "--labels" in recipe.training else None
    held_out = str(data / recipe.held_out) if recipe.held_out else None
    request = TrainRequest(size=(config.width, config.height), crop=config.crop, held_out=held_out, labels=table)
    choice = replace(choose(data / recipe.images, request), model=config)
    held = held_out_then(choice.train.listing.names, model.header.training)
    return choice.trained_on(np.flatnonzero(~held).astype(np.int32))


def result_of(events: Generator[object, None, T]) -> T:
    """What a generator returns after its last event."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def main() -> None:
    steps = {"prior": refit, "vectors": fit_vectors, "measure": measure}
    step = steps.get(sys.argv[1])
    name, data, *rest = sys.argv[1 + bool(step) :]
    folder, recipe = Path(rest[0] if rest else PUBLISHED) / name, RECIPES[name]
    if recipe.prepare:
        recipe.prepare(Path(data))
    (step or make)(folder, recipe, Path(data))


def make(folder: Path, recipe: Recipe, data: Path) -> None:
    name = folder.name
    latentcli("train", data / recipe.images, "--name", name, *recipe.training.format(data=data).split())
    shutil.rmtree(folder, ignore_errors=True)
    file = folder / "model.safetensors"
    store(Path("models", name, "model.safetensors"), file, name=name, licence=recipe.licence)
    fit_vectors(folder, recipe, data)
    latentcli("sample", "--model", folder, "--output", folder / "samples.png")
    store(file, file, bundled=True)
    measure(folder, recipe, data)
    print(file, f"{file.stat().st_size / 1e6:.1f} MB", read_model_header(file).model_id)


if __name__ == "__main__":
    main()
