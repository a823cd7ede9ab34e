"""Training events, beside the `Progress` and `Note` of every job."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from latentcli.evaluation.diagnosis import Finding
from latentcli.events import Note, Progress, Wrote
from latentcli.storage.history import EpochReport, Metrics, SharpMetrics


@dataclass(frozen=True, slots=True)
class Started:
    """Everything is settled; the first step follows."""

    images: int
    held_out: int
    unreadable: tuple[str, ...]  # messages
    notes: tuple[str, ...]  # what to know about the images
    parameters: int
    precision: str
    device: str
    step: int  # 0, or where an interrupted run goes on
    stage: int  # 1, or more where a run that had ended goes on
    steps: int
    steps_per_epoch: int
    estimated_seconds: float | None  # of training; None when the speed was not measured again


@dataclass(frozen=True, slots=True)
class StepReport:
    """A look at the training, every half second or so; nats per image of the last batch."""

    step: int
    steps: int
    images_per_second: float
    reconstruction: float
    kl: float


@dataclass(frozen=True, slots=True)
class Measuring:
    """Training or sharpening pauses at a step to measure."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures of the model after a step, which are in its folder."""

    step: int
    steps: int
    originals: Sequence[Image.Image]
    reconstructions: Sequence[Image.Image]  # of these
    samples: Sequence[Image.Image]


@dataclass(frozen=True, slots=True)
class SharpStarted:
    """Sharpening is settled; the first step follows."""

    images: int
    held_out: int
    unreadable: tuple[str, ...]  # messages
    parameters: int  # of the decoder
    precision: str
    device: str
    trained_steps: int  # of the training before
    step: int  # 0, or where an interrupted run goes on
    steps: int
    estimated_seconds: float | None  # None where the speed was not measured
    before: SharpMetrics


@dataclass(frozen=True, slots=True)
class SharpStep:
    """A look at the sharpening, every half second or so."""

    step: int
    steps: int
    images_per_second: float
    error: float  # mean absolute error of the last batch, over pixels and scales
    discriminator: float  # hinge loss; 2 where it tells nothing apart


@dataclass(frozen=True, slots=True)
class SharpReport:
    """A measurement in the course of sharpening."""

    step: int
    steps: int
    seconds: float  # of sharpening so far
    before: SharpMetrics
    found: SharpMetrics


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Stopped on request; the same command goes on at `step`."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything is written."""

    folder: Path
    model_id: str
    seconds: float
    held_out: Metrics | None
    findings: tuple[Finding, ...]  # the verdict
    outputs: tuple[Path, ...]


Report = (
    Progress
    | Note
    | Wrote
    | Started
    | StepReport
    | EpochReport
    | Measuring
    | Drawn
    | SharpStarted
    | SharpStep
    | SharpReport
    | Interrupted
    | Finished
)
