"""`latentcli train`: a folder of images to a model."""

import contextlib
import signal
import sys
from types import FrameType
from typing import Annotated, Any, Literal, cast

import typer

from latentcli.cli.console import Console
from latentcli.cli.options import (
    AlignedOption,
    BackgroundOption,
    CropOption,
    DataArg,
    DeviceOption,
    HeldOutOption,
    JsonOption,
    PresetOption,
    SizeOption,
    parse_size,
)
from latentcli.config import DEFAULTS, MODEL_FILE, SIZES, Likelihood, Precision, Preset

_PHOTO, _DIGITS, _BOOK = DEFAULTS["photo"], DEFAULTS["digits"], DEFAULTS["book"]
_LATENT_DIMS = (
    f"{_PHOTO.latent_dim} for photo, {_PHOTO.latent_dim_large} above {max(SIZES)} px; "
    f"{_DIGITS.latent_dim} for digits; {_BOOK.latent_dim} for book"
)
_EPOCHS = (
    f"what shows {_PHOTO.images_seen:,} images for photo, {_DIGITS.images_seen:,} for digits, but 10 to 500; "
    f"{_BOOK.train.epochs} for book"
)


def train(
    data: DataArg,
    name: Annotated[
        str | None,
        typer.Option(
            help="The model's name: it is kept in `models/<name>/`. (default: the folder's name)", show_default=False
        ),
    ] = None,
    preset: PresetOption = None,
    size: SizeOption = None,
    crop: CropOption = None,
    aligned: AlignedOption = False,
    background: BackgroundOption = None,
    latent_dim: Annotated[
        int | None, typer.Option(help=f"Numbers per latent. (default: {_LATENT_DIMS})", show_default=False)
    ] = None,
    likelihood: Annotated[
        Likelihood | None,
        typer.Option(
            help="What a pixel is taken for: `gaussian` for photos, `bernoulli` for drawings and digits that are all "
            "but black and white. (default: gaussian for photo, bernoulli for digits and book)",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Passes over the images; more of them go on with a run that has ended. (default: {_EPOCHS})",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Train about so long instead; the speed is measured once.", show_default=False)
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(help="Weight of the KL; 0 is a classical autoencoder. (default: 1)", show_default=False),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip", help="Mirror half of the images. (default: only for photo)", show_default=False
        ),
    ] = None,
    held_out: HeldOutOption = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Images per step.", show_default=False)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.", show_default=False)] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="`auto` takes bf16 where a test shows it faster. (default: auto; fp32 for book)", show_default=False
        ),
    ] = None,
    device: DeviceOption = "auto",
    log: Annotated[
        Literal["tensorboard"] | None,
        typer.Option(help="Also write scalars and pictures into `models/<name>/tensorboard/`.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and noise.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a VAE on a folder of images. Only the images are required; what is chosen for you is said.

    Examples:

        latentcli train photos/

        latentcli train mnist/train --held-out mnist/test --preset book

        latentcli train photos.zip --size 128 --minutes 60 --name large

    Stop it with Ctrl-C: the same command goes on where it stopped. It never overwrites another run. A run that has
    ended goes on with more epochs or minutes. `latentcli check` shows what it would see.
    """
    wanted = parse_size(size)
    console = Console(as_json)

    from latentcli import catalog
    from latentcli.cli.training_view import TensorBoardLog, TrainingView
    from latentcli.events import Progress
    from latentcli.training import plan, run

    model_name = catalog.check_name(name, "model") if name else catalog.new_model_name(data)
    folder = catalog.OWN_MODELS / model_name
    request = plan.TrainRequest(
        preset=cast(Preset, preset),  # TrainRequest refuses other names
        size=wanted,
        crop=crop,
        aligned=aligned,
        background=background,
        latent_dim=latent_dim,
        likelihood=likelihood,
        epochs=epochs,
        minutes=minutes,
        beta=beta,
        flip=flip,
        held_out=held_out,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        precision=precision,
        device=device,
    )
    settled = plan.prepare(folder, data, request)
    console.facts["model"] = folder.name
    console.say(
        f"{folder}: {settled.choice.describe()} "
        "(change with --preset, --size, --latent-dim, --beta, --epochs, --minutes)"
    )
    if settled.finished:
        _tell_finished(console, settled)
        return
    stop = _StopRequest()
    with TrainingView(console) as view, TensorBoardLog(folder) if log else contextlib.nullcontext() as board:
        for report in run.run(settled, stop):
            view.show(report)
            if board:
                board.show(report)
            if stop() and isinstance(report, Progress):  # nothing is to be saved there
                if report.what != "reading":
                    console.say("stopped before everything was measured; the same command does the rest")
                break
    console.facts["interrupted"] = not view.finished
    console.print_json()
    if not view.finished:
        raise typer.Exit(128 + (stop.signal or signal.SIGINT))


def _tell_finished(console: Console, settled: Any) -> None:
    from latentcli import catalog

    console.say(f"already finished; train another with --name, or look: latentcli sample --model {settled.folder.name}")
    console.facts["model_id"] = catalog.find_model(settled.folder.name).model_id
    console.wrote(settled.folder / MODEL_FILE)
    console.print_json()


class _StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a wish to stop after the step; the second stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked)

    def __call__(self) -> bool:
        return self.signal is not None

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        print("latentcli: stopping after this step; once more stops at once", file=sys.stderr)
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_DFL)
