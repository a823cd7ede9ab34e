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

ACTIVE_KL = 0.01  # nats of KL, mean over images, above which a latent dimension carries information
_MOST_BYTES = 8 << 20  # bytes of a history, at most: thousands of epochs


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of a model: means over images, in nats per image where a field has no other unit."""

    images: int  # number of images
    negative_elbo: float | None  # reconstruction + KL with one draw per image, beta 1; None for an autoencoder
    reconstruction: float  # negative log-likelihood of the images, with the sigma of a Gaussian model
    kl: float | None  # of the posterior from the prior; None for an autoencoder
    psnr: float  # dB, mean over images, 8-bit reconstruction from the posterior mean
    active_dimensions: int | None  # number of dimensions with a KL above ACTIVE_KL; None for an autoencoder
    bits_per_dimension: float | None  # Gaussian VAEs only


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Metrics at the end of an epoch: one line of `history.jsonl`. Epoch 0 is before the first step."""

    epoch: int
    step: int
    stage: int
    seconds: float  # of training so far, over all sessions of the run
    reconstruction: float  # nats per image, mean over the training batches since the report before
    kl: float  # nats per image, mean over the batches of `reconstruction`
    skipped_steps: int  # number of steps so far that were skipped, because their gradients were not finite
    held_out: Metrics | None

    @property
    def loss(self) -> float:
        """Reconstruction + KL on the training images, nats per image."""
        return self.reconstruction + self.kl


# Of the samples that sharpening measures: a decoder that never drew latents near the mean draws a mesh there.
TEMPERATURES = (0.3, 0.65, 1.0)


@dataclass(frozen=True, slots=True)
class SharpMetrics:
    """Quality of a decoder on held-out images, measured before and after sharpening."""

    psnr: float  # dB, of reconstructions
    sharpness: float  # variance of the Laplacian of reconstructions over that of the images, median
    frechet: float | None = None  # Fréchet distance of samples, which earlier versions measured
    kernel: tuple[float, ...] = ()  # kernel distances of samples at TEMPERATURES, in the feature space of `evaluate`

    @property
    def distance(self) -> float:
        """Mean kernel distance of samples; of earlier versions the Fréchet distance, as `distance_name` says."""
        return sum(self.kernel) / len(self.kernel) if self.kernel else self.frechet or 0.0

    @property
    def distance_name(self) -> str:
        return "kernel distance of samples" if self.kernel else "Fréchet distance of samples"


@dataclass(frozen=True, slots=True)
class Sharpening:
    """Settings and results of a sharpening, in which the decoder alone is trained further, against a discriminator."""

    steps: int
    batch_size: int
    seconds: float
    precision: str
    seed: int
    before: SharpMetrics
    after: SharpMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorFit:
    """Fit of a flow prior beside the Gaussian mixture that the flow starts from.

    A loss is the mean squared error of the velocity, per dimension of the flow's space. A distance is the energy
    distance (Székely & Rizzo 2013) of samples at temperature 1 to held-out latents in that space.
    """

    mixture_loss: float  # of the mixture alone, on held-out latents
    train_loss: float  # of the flow on training latents
    held_out_loss: float  # of the flow on held-out latents
    own_loss: float  # of the flow on its own samples: far below `held_out_loss` for one that is too sure of itself
    mixture_distance: float  # of the mixture's samples
    flow_distance: float  # of the flow's samples

    @property
    def is_flow(self) -> bool:
        """Whether the flow beats the mixture by both, and is the model's prior."""
        return self.held_out_loss < self.mixture_loss and self.flow_distance < self.mixture_distance


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """Settings and results of a training, as they are stored in the header of the model file."""

    preset: str = ""
    data: str = "a folder"  # name of the folder, archive or list
    start_from: str | None = None  # name of the model whose weights were the first
    images: int
    held_out_images: int = 0
    unreadable: int = 0
    steps: int
    stages: int = 1
    batch_size: int = 0
    minutes: float | None = None  # duration that the user asked for
    epochs: float
    planned_epochs: float | None = None  # None unless training stopped early
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
    held_out_share: float | None = None  # None if a folder was held out instead of a share
    moved: tuple[int, ...] = ()  # first 32 bits of the hashes of paths whose images followed a near-duplicate
    held_out: Metrics | None = None
    prior: PriorFit | None = None  # None if no flow was fitted
    sharpening: Sharpening | None = None  # None without a sharpening; `held_out` is measured after the sharpening


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """Header of a model file, all of its content besides the tensors: ids, configuration, training and licence."""

    model_id: str
    config: dict[str, Any]
    training: TrainingSummary | None = None
    finished_at: str = ""  # end of the training, ISO 8601 in UTC: sorts as text
    bundled: bool = False
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)  # labels of the training images, by column
    licence: str = ""  # of weights and vectors; "" if there is none
    network_id: str = ""  # digest of all weights: equal to model_id, unless the decoder alone was trained further

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{12}", self.model_id):  # folders are named after the id
            raise ValueError("model_id is not twelve hex digits")


def read_model_header(path: Path) -> ModelHeader:
    """Header of the model file at `path`. Raises FileFormatError when the file is missing or its header invalid."""
    return tensorfile.parse(ModelHeader, tensorfile.read_header(path, "model"), path)


def read(folder: Path) -> list[EpochReport]:
    """Reports of a run's epochs from `history.jsonl`; damaged lines are left out, and a missing file gives none."""
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
    """Write the reports of all epochs to `history.jsonl` in `folder`, which is replaced whole or not at all."""
    write_whole(folder / HISTORY_FILE, "".join(json.dumps(asdict(line)) + "\n" for line in lines).encode())
