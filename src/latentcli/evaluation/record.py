"""Record of the evaluation at the end of a training, stored beside the model for its report."""

from dataclasses import dataclass
from pathlib import Path

from latentcli import tensorfile
from latentcli.errors import FileFormatError
from latentcli.evaluation.diagnosis import Finding
from latentcli.evaluation.result import Evaluation, Neighbours
from latentcli.images import as_float, as_uint8

KIND = "evaluation"
RECORD_FILE = "evaluation.safetensors"


@dataclass(frozen=True, slots=True)
class Record:
    """An evaluation and its findings."""

    model_id: str
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
            "model_id": self.model_id,
            "evaluation": self.evaluation.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
        }
        tensorfile.write(folder / RECORD_FILE, KIND, header, arrays)
        return folder / RECORD_FILE

    @staticmethod
    def is_there(folder: Path, model_id: str) -> bool:
        """Whether a folder holds a record of this model."""
        try:
            return tensorfile.read_header(folder / RECORD_FILE, KIND).get("model_id") == model_id
        except FileFormatError:
            return False

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """Raises FileFormatError when the record is missing or damaged."""
        path = folder / RECORD_FILE
        header, arrays = tensorfile.read(path, KIND)
        try:
            evaluation = Evaluation.from_json(header["evaluation"])
            findings = tuple(Finding(**found) for found in header["findings"])
            pictures = [as_float(arrays[name]) for name in ("samples", "training") if arrays]
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} lacks a part of an evaluation ({error}); train again") from error
        return cls(str(header.get("model_id")), evaluation, findings, Neighbours(*pictures) if pictures else None)
