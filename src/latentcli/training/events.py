"""Training events, beside the `Progress` and `Note` of every job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from latentcli.evaluation.diagnosis import Finding
from latentcli.events import Note, Progress, Wrote
from latentcli.storage.history import EpochReport, Metrics, SharpMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """All options are settled, and the first step follows."""

    what: str  # "training", "sharpening"
    images: int
    held_out: int
    unreadable: tuple[str, ...]  # messages
    notes: tuple[str, ...] = ()  # what to know about the images
    parameters: int  # that are trained
    precision: str
    device: str
    step: int  # 0, or where an interrupted training goes on
    stage: int = 1  # more where a training that had ended goes on
    steps: int
    steps_per_epoch: int
    estimated_seconds: float | None  # of training; None when the speed was not measured again
    trained_steps: int = 0  # before sharpening
    before: SharpMetrics | None = None  # sharpening


@dataclass(frozen=True, slots=True)
class StepReport:
    """State of a training between measurements, about every half second."""

    what: str
    step: int
    steps: int
    images_per_second: float | None  # None where steps are not counted in images
    losses: Mapping[str, float]  # of the last batch: reconstruction and KL in nats per image, or others


@dataclass(frozen=True, slots=True)
class Measuring:
    """A training pauses at a step to measure."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures that the model made after a step; they are in its folder as well."""

    step: int
    steps: int
    originals: Sequence[Image.Image]
    reconstructions: Sequence[Image.Image]  # of these
    samples: Sequence[Image.Image]


@dataclass(frozen=True, slots=True)
class SharpReport:
    """A measurement during sharpening."""

    step: int
    steps: int
    seconds: float  # of sharpening so far
    before: SharpMetrics
    metrics: SharpMetrics


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Training was stopped on request; the same command resumes it at `step`."""

    what: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Finished:
    """All files of a training are written."""

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
    | SharpReport
    | Interrupted
    | Finished
)
