"""Records of a training: metrics, the lines of `history.jsonl`, and the header of the model file with its summary.

Nothing here imports torch, so that models can be listed without it.
"""

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latentcli import typed
from latentcli.storage import tensorfile
from latentcli.storage.files import read_input, write_whole
from latentcli.storage.names import HISTORY_FILE

ACTIVE_KL = 0.01  # nats on average, above which a latent dimension carries information
_MOST_BYTES = 8 << 20  # bytes of a history: thousands of epochs


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of a model, as means over images in nats per image where nothing else is said."""

    images: int
    negative_elbo: float | None  # reconstruction + KL with one draw per image, beta 1; None for an autoencoder
    reconstruction: float  # with the model's sigma
    kl: float | None  # None for an autoencoder, which has none
    psnr: float  # dB, mean over images, 8-bit reconstruction from the posterior mean
    active_dimensions: int | None  # KL above ACTIVE_KL; None for an autoencoder
    bits_per_dimension: float | None  # Gaussian VAEs only


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Metrics at the end of an epoch: one line of `history.jsonl`. Epoch 0 is before the first step."""

    epoch: int
    step: int
    stage: int
    seconds: float  # of training so far, over all sessions of the run
    reconstruction: float  # nats per image, mean over the training batches since the last line
    kl: float
    skipped_steps: int  # with non-finite gradients, so far
    held_out: Metrics | None

    @property
    def loss(self) -> float:
        """Reconstruction + KL on the training images, nats per image."""
        return self.reconstruction + self.kl


@dataclass(frozen=True, slots=True)
class SharpMetrics:
    """Sharpness of a decoder and its cost, on held-out images."""

    psnr: float  # dB, of reconstructions
    sharpness: float  # variance of the Laplacian of reconstructions over that of the images, median
    frechet: float  # distance of samples to the images, in the space of `evaluate`


@dataclass(frozen=True, slots=True)
class Sharpening:
    """Summary of a sharpening: the decoder alone is trained further, against a discriminator."""

    steps: int
    batch_size: int
    seconds: float
    precision: str
    seed: int
    before: SharpMetrics
    after: SharpMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """Settings and results of a training, in the order of the model file."""

    preset: str = ""
    data: str = "a folder"  # name of the folder, archive or list
    start_from: str | None = None  # name of the model whose weights were the first
    images: int
    held_out_images: int = 0
    unreadable: int = 0
    steps: int
    stages: int = 1
    batch_size: int = 0
    minutes: float | None = None  # asked for by the user
    epochs: float
    planned_epochs: float | None = None  # where training stopped early
    kept_epoch: int | None = None  # epoch of the stored weights, the best on held-out images; None for the last
    seconds: float
    precision: str = ""
    optimizer: str = ""
    learning_rate: float
    beta: float
    flip: bool = False
    shift: float = 0.0
    jitter: float = 0.0
    seed: int = 0
    held_out_share: float | None = None  # None where a folder was held out
    held_out: Metrics | None = None
    sharpening: Sharpening | None = None  # where there was one; `held_out` is measured after it


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


def read(folder: Path) -> list[EpochReport]:
    """The lines of a run's history; damaged lines are left out, and a missing file has none."""
    try:
        texts = read_input(folder / HISTORY_FILE, _MOST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    lines = []
    for text in texts:
        with contextlib.suppress(ValueError, RecursionError):
            lines.append(typed.read(EpochReport, json.loads(text)))
    return lines


def write(folder: Path, lines: Sequence[EpochReport]) -> None:
    """Write all lines as one file, whole."""
    write_whole(folder / HISTORY_FILE, "".join(json.dumps(asdict(line)) + "\n" for line in lines).encode())
