"""Header of a model file: ids, settings, and how the model was trained."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentcli.storage import tensorfile
from latentcli.storage.history import TrainingSummary


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """Everything in a model file besides its tensors."""

    model_id: str
    config: dict[str, Any]
    training: TrainingSummary | None = None
    finished_at: str = ""  # end of the training, ISO 8601 in UTC: sorts as text
    bundled: bool = False
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)  # labels of the training images, by column
    licence: str = ""  # of weights and vectors, where the model comes with one
    network_id: str = ""  # a digest of the weights: the model_id, unless the decoder alone was trained on

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{12}", self.model_id):  # folders are named after it
            raise ValueError("model_id is not twelve hex digits")

    @property
    def weights_id(self) -> str:
        """The id that no other weights have."""
        return self.network_id or self.model_id


def read_model_header(path: Path) -> ModelHeader:
    """The header of a model file. Raises FileFormatError when it is missing or makes no sense."""
    return tensorfile.parse(ModelHeader, tensorfile.read_header(path, "model"), path)
