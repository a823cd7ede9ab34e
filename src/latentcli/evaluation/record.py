"""Record of the evaluation at the end of a training, stored beside the model for its report."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from latentcli.errors import FileFormatError
from latentcli.evaluation.diagnosis import Finding
from latentcli.evaluation.result import Evaluation, Neighbours
from latentcli.imaging.images import as_float, as_uint8
from latentcli.storage import tensorfile

KIND = "evaluation"
RECORD_FILE = "evaluation.safetensors"
_MOST_NUMBERS = 1 << 24  # limit on the pixel values of all pictures in a record


@dataclass(frozen=True, slots=True)
class Record:
    """Stored evaluation of a model: metrics, findings, and samples beside their nearest training images."""

    model_id: str  # the `network_id` of the model's header
    evaluation: Evaluation
    findings: tuple[Finding, ...]
    neighbours: Neighbours | None

    def save(self, folder: Path) -> Path:
        """Write the record into the model's `folder` and return the path of the written file."""
        header = asdict(self)
        pictures = header.pop("neighbours") or {}
        arrays = {name: as_uint8(images) for name, images in pictures.items()}
        tensorfile.write(folder / RECORD_FILE, KIND, header, arrays)
        return folder / RECORD_FILE

    @classmethod
    def of(cls, folder: Path, network_id: str) -> "Record | None":
        """The record in a model's `folder`; None if unreadable or made with weights other than `network_id`."""
        try:
            record = cls.load(folder)
        except FileFormatError:
            return None
        return record if record.model_id == network_id else None

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """Read the record in a model's `folder`. Raises FileFormatError if the record is missing or damaged."""
        path = folder / RECORD_FILE

        def check(_: tensorfile.Header, layout: tensorfile.Layout) -> None:
            if tensorfile.numbers(layout) > _MOST_NUMBERS:
                raise FileFormatError(f"{path} holds more numbers than an evaluation does; train again")

        header, arrays = tensorfile.read(path, KIND, check)
        pictures = [arrays.get(name, np.empty(0)) for name in ("samples", "training")]
        if arrays and not all(images.dtype == np.uint8 and images.ndim == 4 for images in pictures):
            raise FileFormatError(f"{path} does not hold pictures beside its evaluation; train again")
        neighbours = Neighbours(*map(as_float, pictures)) if arrays else None
        return replace(tensorfile.parse(cls, header | {"neighbours": None}, path), neighbours=neighbours)
