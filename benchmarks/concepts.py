"""Concept vectors on 20,000 labelled faces: AUC, side effects, few labels, shuffled labels, and the time.

    python benchmarks/concepts.py MODEL DATA

MODEL is a model of faces, DATA holds `faces/` (JPEG) and `attributes.csv` (file, age, male, smile, glasses). Images
held out are those that the model was not trained on. Latents are kept in the current folder.
"""

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from latentcli.concepts.diagnostics import MIN_HELD_OUT, measure
from latentcli.concepts.fit import Examples, FitSettings, find
from latentcli.concepts.label_source import LabelSource
from latentcli.concepts.labels import read
from latentcli.concepts.vector import ConceptVector
from latentcli.events import Event
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.pipelines import encode, fit_vectors
from latentcli.storage import catalog
from latentcli.storage.latents import Latents

THRESHOLDS = {"smile": "smile=0.95,0.05", "glasses": "glasses=0.95,0.1", "male": "male=0.5,0.4", "old": "age=60,20:35"}
DRAWS, EACH = 30, 20  # of few labelled images


class Faces:
    """The labelled faces, encoded once."""

    def __init__(self, model: str, data: Path) -> None:
        copy = Path(tempfile.mkdtemp()) / "model"  # what is fitted here stays out of the user's folders
        os.environ["XDG_DATA_HOME"] = str(copy.parent / "data")
        copy.mkdir()
        shutil.copy(catalog.find_model(model).path, copy)
        self.model: LoadedModel = load_model(copy)
        self.entry = replace(catalog.find_model(str(copy)), loaded=self.model)
        self.data = data
        self.file = Path(f"{self.model.model_id}.latents.safetensors")
        if not self.file.exists():
            for _ in encode.encode(self.entry, [data / "faces"], self.file, force=False):
                pass
        self.latents = Latents.load(self.file)

    def labels(self, name: str, balance_by: Sequence[str] = ()):
        column = THRESHOLDS[name].partition("=")[0]
        return self.read(name=name, column=column, thresholds=(THRESHOLDS[name],), balance_by=balance_by)

    def read(self, **options):
        table, root = self.data / "attributes.csv", self.data / "faces"
        return read(LabelSource(labels=table, root=root, latents=self.file, **options))

    def fit(self, name: str, balance_by: Sequence[str] = (), labels=None) -> ConceptVector:
        labels = labels or self.labels(name, balance_by)
        events = fit_vectors.fit(self.entry, labels, FitSettings(), force=False, save=False)
        return next(event for event in events if isinstance(event, ConceptVector))

    def examples(self, name: str) -> Examples:
        labels = self.labels(name)
        rows = {image: row for row, image in enumerate(self.latents.names)}
        values = labels.concepts[0].values
        known = np.flatnonzero(values >= 0)
        z = self.latents.z[[rows[labels.names[place]] for place in known]].astype(np.float64)
        return Examples(z, values[known] == 1)


def few_labels(faces: Faces) -> None:
    """Vectors from 20 + 20 images against the one from all of them."""
    where = faces.model.geometry
    print(f"\n{EACH} + {EACH} labelled images, {DRAWS} draws: cosine with the vector from all")
    for name in THRESHOLDS:
        everything = faces.examples(name)
        full = find(everything, FitSettings(), where).v
        cosines, result, plain = [], [], []
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            chosen = [rng.choice(np.flatnonzero(everything.shows == kind), EACH, False) for kind in (True, False)]
            some = everything.take(np.concatenate(chosen))
            found = find(some, FitSettings(), where)
            cosines.append(cosine(found.v, full))
            plain.append(cosine(find(some, FitSettings(shrunk=False), where).v, full))
            nothing = some.take(np.zeros(len(some), dtype=bool))
            result.append(measure(some, nothing, FitSettings(), where, found)[0].steadiness)
        print(
            f"  {name:8} median {np.median(cosines):.3f}, 10th percentile {np.percentile(cosines, 10):.3f}; "
            f"expected {np.median(result):.3f}; not shrunk: median {np.median(plain):.3f}"
        )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def shuffled(faces: Faces) -> None:
    labels = faces.labels("smile")
    (concept,) = labels.concepts
    values = np.random.default_rng(0).permutation(concept.values)
    found = faces.fit("smile", labels=replace(labels, concepts=(replace(concept, values=values),)))
    print(f"\nshuffled labels: AUC {found.diagnostics.auc:.3f}; {found.advice}")


def side_effects(faces: Faces) -> None:
    """Of smile, balanced by male and age, judged by the vectors male and old that the model has."""
    for name in ("male", "old"):
        target = catalog.new_vector_file(faces.entry, name)
        if not target.exists():
            faces.fit(name).save(target)
    balanced = faces.fit("smile", ("male", "age")).diagnostics
    print(f"\nsmile, balanced {balanced.balanced}: own shift {balanced.own_shift.shift:+.2f} sd, ", end="")
    print(f"{balanced.own_shift.shift / balanced.own_shift.before:.2f} of the unbalanced vector's")
    for other in balanced.side_effects:
        print(f"  into {other.concept:8} {other.shift:+.2f} sd, before {other.before:+.2f}")


def every_column(faces: Faces) -> tuple[float, list[Event]]:
    started = time.perf_counter()
    thresholds = [THRESHOLDS[name] for name in ("smile", "glasses", "old")]
    labels = faces.read(every=True, thresholds=thresholds)
    result = list(fit_vectors.fit(faces.entry, labels, FitSettings(), force=False, save=False))
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    faces = Faces(asked.model, asked.data)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}; {len(faces.latents)} faces")
    print(f"concept   with/without  AUC    LDA    (mean difference; {MIN_HELD_OUT} or more held out of each kind)")
    for name in THRESHOLDS:
        found = faces.fit(name)
        counts = f"{found.positives}/{found.negatives}"
        measured = found.diagnostics
        print(f"{name:9} {counts:13} {measured.auc:.3f}  {measured.auc_lda:.3f}  {measured.measured_on}")
    side_effects(faces)
    few_labels(faces)
    shuffled(faces)
    seconds = min(every_column(faces)[0] for _ in range(2))
    print(f"\nvectors fit --all, 4 columns, latents encoded: {seconds:.1f} s after import")


if __name__ == "__main__":
    main()
