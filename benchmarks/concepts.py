"""Concept vectors on 20,000 labelled faces: AUC, side effects, few labels, random labels, and the time.

    python benchmarks/concepts.py MODEL DATA [--only PART]

MODEL is a model of faces, DATA holds `faces/` (JPEG) and `attributes.csv` (file, age, male, smile, glasses). Images
held out are those that the model was not trained on. Latents are kept in the current folder. Who labelled them: ages
and sexes are those of UTKFace's authors, `smile` and `glasses` scores of small networks trained on other photos.
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

from latentcli.concepts.diagnostics import MIN_HELD_OUT, judge, measure
from latentcli.concepts.fit import Examples, FitSettings, find
from latentcli.concepts.label_source import LabelSource
from latentcli.concepts.labels import read
from latentcli.concepts.vector import ConceptVector
from latentcli.events import Event
from latentcli.figures.table import cell
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.pipelines import encode, fit_vectors
from latentcli.storage import catalog
from latentcli.storage.latents import Latents

THRESHOLDS = {"smile": "smile=0.95,0.05", "glasses": "glasses=0.95,0.1", "male": "male=0.5,0.4", "old": "age=60,20:35"}
FEW, DRAWS = (10, 20, 50, 100), 30  # labelled images of each class
RANDOM, RANDOM_DRAWS = (10, 20, 50, 150, 300, 1000), 100  # images of each class, with random labels


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


def some_of(examples: Examples, each: int, seed: int) -> Examples:
    """So many random images of each class."""
    rng = np.random.default_rng(seed)
    kinds = [rng.choice(np.flatnonzero(examples.shows == kind), each, replace=False) for kind in (True, False)]
    return examples.take(np.concatenate(kinds))


def few_labels(faces: Faces) -> None:
    """Vectors from few images against the difference of means of all (its own cosine with the truth: .985 to .993)."""
    where = faces.model.geometry
    print(f"\nfew labelled images against the vector of all; medians of {DRAWS} draws (10th to 90th percentile)")
    columns = "cosine", "not shrunk", "said", "|said - true|", "length of strength 1", "not corrected"
    print("each  concept  ", "  ".join(f"{column:17}" for column in columns))
    for each in FEW:
        for name in THRESHOLDS:
            everything = faces.examples(name)
            full = find(everything, FitSettings(shrunk=False), where).v
            rows = []
            for draw in range(DRAWS):
                some = some_of(everything, each, draw)
                found, plain = (find(some, FitSettings(shrunk=shrunk), where) for shrunk in (True, False))
                true, said = cosine(found.v, full), found.estimate.cosine
                lengths = [np.linalg.norm(v) / np.linalg.norm(full) for v in (found.v, plain.v)]
                rows.append((true, cosine(plain.v, full), said, abs(said - true), *lengths))
            shown = [spread(column) for column in zip(*rows, strict=True)]
            print(f"{each:4}  {name:8}  {'  '.join(f'{text:17}' for text in shown)}", flush=True)


def spread(values: Sequence[float]) -> str:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.3f} ({low:.2f}-{high:.2f})"


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def random_labels(faces: Faces) -> None:
    """What vectors fitted to labels that mean nothing say of themselves."""
    z, where = faces.latents.z.astype(np.float64), faces.model.geometry
    nothing = Examples(z[:0], np.zeros(0, dtype=bool))
    print(f"\nrandom labels, {RANDOM_DRAWS} draws: gap in within-class sd, median of its margin, 0 in its interval,")
    print("p-value up to .05, verdict 'no better than chance'")
    for each in RANDOM:
        rows = []
        for draw in range(RANDOM_DRAWS):
            chosen = np.random.default_rng(1000 * each + draw).choice(len(z), 2 * each, replace=False)
            examples = Examples(z[chosen], np.arange(2 * each) % 2 == 0)
            found = measure(examples, nothing, FitSettings(), where, find(examples, FitSettings(), where))[0]
            verdict = judge(found, z.shape[1]).word == "no better than chance"
            rows.append((found.gap, found.margin, abs(found.gap) <= found.margin, found.p_value <= 0.05, verdict))
        gap, margin, *counts = zip(*rows, strict=True)
        shares = "  ".join(f"{sum(count):3}" for count in counts)
        print(f"{each:5}  {spread(gap)}  {np.median(margin):.2f}  {shares}", flush=True)


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


def every_concept(faces: Faces) -> None:
    print(f"concept   with/without  gap, sd      AUC  of all    LDA      p  ({MIN_HELD_OUT} or more held out)")
    for name in THRESHOLDS:
        found = faces.fit(name)
        measured = found.diagnostics
        areas = map(cell, (measured.auc, measured.auc_all, measured.auc_lda, measured.p_value))
        figures = "  ".join(f"{area:>5}" for area in areas)
        counts = f"{found.positives}/{found.negatives}"
        print(
            f"{name:9} {counts:13} {found.gap_in_words}  {figures}  {measured.measured_on}; {found.origin}", flush=True
        )


def duration(faces: Faces) -> None:
    seconds = min(every_column(faces)[0] for _ in range(2))
    print(f"\nvectors fit --all, 4 columns, latents encoded: {seconds:.1f} s after import")


PARTS = {
    "concepts": every_concept,
    "effects": side_effects,
    "few": few_labels,
    "random": random_labels,
    "time": duration,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=PARTS, help="one part (default: all)")
    asked = parser.parse_args()
    faces = Faces(asked.model, asked.data)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}; {len(faces.latents)} faces")
    for name, part in PARTS.items():
        if asked.only in (None, name):
            part(faces)


if __name__ == "__main__":
    main()
