"""Record of the evaluation at the end of a training, stored beside the model for its report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentcli.errors import FileFormatError
from latentcli.evaluation.diagnosis import Finding
from latentcli.evaluation.result import Evaluation, Neighbours
from latentcli.imaging.images import as_float, as_uint8
from latentcli.storage import tensorfile

KIND = "evaluation"
_MOST_NUMBERS = 1 << 24  # of all pictures
RECORD_FILE = "evaluation.safetensors"


@dataclass(frozen=True, slots=True)
class _Header:
    model_id: str  # of the weights
    evaluation: Evaluation
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """An evaluation and its findings."""

    weights_id: str  # of the model
    evaluation: Evaluation
    findings: tuple[Finding, ...]
    neighbours: Neighbours | None

    def save(self, folder: Path) -> Path:
        """Write the record into a model's folder; returns the file."""
        arrays: tensorfile.Arrays = {}
        if self.neighbours:
            arrays["samples"] = as_uint8(self.neighbours.samples)
            arrays["training"] = as_uint8(self.neighbours.training)
        header = {
            "model_id": self.weights_id,
            "evaluation": self.evaluation.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
        }
        tensorfile.write(folder / RECORD_FILE, KIND, header, arrays)
        return folder / RECORD_FILE

    @staticmethod
    def is_there(folder: Path, weights_id: str) -> bool:
        """Whether a folder holds a record of these weights."""
        try:
            return tensorfile.read_header(folder / RECORD_FILE, KIND).get("model_id") == weights_id
        except FileFormatError:
            return False

    @classmethod
    def of(cls, folder: Path, weights_id: str) -> "Record | None":
        """The record of exactly these weights, where their folder holds one."""
        try:
            record = cls.load(folder)
        except FileFormatError:
            return None
        return record if record.weights_id == weights_id else None

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """Raises FileFormatError when the record is missing or damaged."""
        path = folder / RECORD_FILE

        def check(header: tensorfile.Header, layout: tensorfile.Layout) -> None:
            if tensorfile.numbers(layout) > _MOST_NUMBERS:
                raise FileFormatError(f"{path} holds more numbers than an evaluation does; train again")

        header, arrays = tensorfile.read(path, KIND, check)
        found = tensorfile.parse(_Header, header, path)
        pictures = [arrays.get(name, np.empty(0)) for name in ("samples", "training")]
        if arrays and not all(some.dtype == np.uint8 and some.ndim == 4 for some in pictures):
            raise FileFormatError(f"{path} does not hold pictures beside its evaluation; train again")
        neighbours = Neighbours(*map(as_float, pictures)) if arrays else None
        return cls(found.model_id, found.evaluation, found.findings, neighbours)
