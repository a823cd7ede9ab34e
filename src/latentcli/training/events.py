"""Events that a training yields while it runs, beside the `Progress` and `Note` that all long jobs yield."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from latentcli.evaluation.diagnosis import Finding
from latentcli.events import Note, Progress, Wrote
from latentcli.storage.history import EpochReport, Metrics, SharpMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Event before the first step of a session: images, network size, device and planned steps."""

    what: str  # "training" or "sharpening"
    images: int  # training images
    held_out: int  # held-out images
    unreadable: tuple[str, ...]  # error messages, one per file
    notes: tuple[str, ...] = ()  # warnings about the images
    parameters: int  # number of trained parameters
    precision: str
    device: str
    step: int  # steps made before this session
    stage: int = 1  # more than 1 after a finished run was made longer
    steps: int  # planned, with those made before
    steps_per_epoch: int
    estimated_seconds: float | None  # of the remaining steps; None if the speed was not measured
    trained_steps: int = 0  # of the model before sharpening
    before: SharpMetrics | None = None  # of the decoder before sharpening; None in training


@dataclass(frozen=True, slots=True)
class StepReport:
    """Event about every half second: step, speed and losses of the last batch."""

    what: str  # "training", "fitting the prior" or "sharpening"
    step: int  # steps made
    steps: int  # steps planned
    images_per_second: float | None  # None when fitting the prior, which reads no images
    losses: Mapping[str, float]  # by name; in training "reconstruction" and "kl", in nats per image


@dataclass(frozen=True, slots=True)
class Measuring:
    """Event before a measurement, for which training pauses after step `step` of `steps`."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Event with pictures that the model draws after step `step` of `steps`, also written to the model's folder."""

    step: int
    steps: int
    originals: Sequence[Image.Image]
    reconstructions: Sequence[Image.Image]  # of `originals`
    samples: Sequence[Image.Image]


@dataclass(frozen=True, slots=True)
class SharpReport:
    """Event with a measurement during sharpening, after step `step` of `steps`."""

    step: int
    steps: int
    seconds: float  # of sharpening so far
    before: SharpMetrics  # of the decoder before sharpening
    metrics: SharpMetrics  # of the decoder now


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Event after a training was stopped on request and saved; the same command resumes the training at `step`."""

    what: str  # "training", "fitting the prior" or "sharpening"
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event of a training, after all files are written."""

    folder: Path
    model_id: str
    seconds: float
    held_out: Metrics | None  # on held-out images; None without any
    findings: tuple[Finding, ...]  # of the diagnosis of the model
    outputs: tuple[Path, ...]  # written files, the model first


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
