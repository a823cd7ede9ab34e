"""`latentcli train`: a model from a folder of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from latentcli.cli import options as opt
from latentcli.cli.complete import model_names
from latentcli.cli.console import Console
from latentcli.cli.terminal import Waiting
from latentcli.config import Likelihood, Precision, Preset
from latentcli.presets import DEFAULTS, FEW_IMAGES, LARGE, MANY_IMAGES
from latentcli.runtime import let_threads_sleep
from latentcli.storage.names import MODEL_FILE

if TYPE_CHECKING:
    from latentcli.training.plan import Plan

_PHOTO, _DIGITS, _BOOK = DEFAULTS["photo"], DEFAULTS["digits"], DEFAULTS["book"]
_LATENT_DIMS = (
    f"{_PHOTO.latent_dim} for photo, {_PHOTO.latent_dim_large} above {LARGE} px, and for {LARGE} px of {MANY_IMAGES:,} "
    "images; "
    f"{_DIGITS.latent_dim} for digits; {_BOOK.latent_dim} for book"
)
_EPOCHS = (
    f"as many as show {_PHOTO.images_seen:,} images for photo, fewer above {LARGE} px, and {_DIGITS.images_seen:,} for "
    "digits, but 10 to 500; "
    f"{_BOOK.train.epochs} for book"
)


def train(
    data: opt.Data,
    name: Annotated[
        str | None,
        opt.option(
            "Name of the model, which is kept in `models/<name>/`. (default: the folder's name)", panel=opt.OUTPUT
        ),
    ] = None,
    preset: opt.Preset = None,
    size: opt.Size = None,
    crop: opt.Crop = None,
    aligned: opt.Aligned = False,
    background: opt.Background = None,
    latent_dim: Annotated[
        int | None, opt.option(f"Numbers per latent. (default: {_LATENT_DIMS})", panel=opt.NETWORK)
    ] = None,
    capacity: Annotated[
        float | None,
        opt.option(
            "Times as many feature maps at the finer levels: 2 costs about half the speed and gives pictures more "
            "detail, above all with --sharp. (default: 1)",
            panel=opt.NETWORK,
        ),
    ] = None,
    likelihood: Annotated[
        Likelihood | None,
        opt.option(
            "Pixel likelihood: `gaussian` for photos, `bernoulli` for near-black-and-white drawings and digits. "
            "(default: gaussian for photo, bernoulli for digits and book)",
            panel=opt.NETWORK,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        opt.option(
            f"Passes over the images; more of them extend a finished run. (default: {_EPOCHS})",
            least=1,
            panel=opt.TRAINING,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        opt.option("Duration of the training instead of --epochs; the speed is measured once.", panel=opt.TRAINING),
    ] = None,
    beta: Annotated[
        float | None, opt.option("Weight of the KL; 0 is a classical autoencoder. (default: 1)", panel=opt.TRAINING)
    ] = None,
    flip: Annotated[
        bool | None,
        opt.option(
            "Mirror half of the images. (default: for photo, if mirrored ones look the same)",
            "--flip/--no-flip",
            panel=opt.TRAINING,
        ),
    ] = None,
    augment: Annotated[
        bool | None,
        opt.option(
            "Also move images a little, and change brightness and contrast of photos. "
            f"(default: for photo, and digits below {FEW_IMAGES:,} images, if moved ones look the same)",
            "--augment/--no-augment",
            panel=opt.TRAINING,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        opt.option(
            "A CSV table with a column of file names. Its other columns name parts of the images, which `sample "
            "--like` draws from. (default: sub-folders are such parts)",
            metavar="FILE",
            panel=opt.DATA,
        ),
    ] = None,
    held_out: opt.HeldOut = None,
    batch_size: Annotated[int | None, opt.option("Images per step.", least=2, panel=opt.TRAINING)] = None,
    learning_rate: Annotated[float | None, opt.option("Peak learning rate.", panel=opt.TRAINING)] = None,
    precision: Annotated[
        Precision | None,
        opt.option(
            "`auto` takes bf16 where a test shows that it is faster and as good. (default: auto; fp32 for book)",
            panel=opt.TRAINING,
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        opt.option(
            "Start from the weights of a model, whose network and size are taken over: for a few hundred pictures "
            "like its own.",
            "--from",
            complete=model_names,
            panel=opt.NETWORK,
        ),
    ] = None,
    sharp: Annotated[
        bool,
        opt.option(
            "Afterwards train the decoder alone on, against a discriminator, until its pictures are as crisp as "
            "the images: see `latentcli sharpen`. (default: off)",
            "--sharp",
            panel=opt.TRAINING,
        ),
    ] = False,
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    log: Annotated[
        Literal["tensorboard"] | None,
        opt.option("Also write scalars and pictures into `models/<name>/tensorboard/`.", panel=opt.OUTPUT),
    ] = None,
    seed: Annotated[int, opt.option("Random seed (weights, shuffling, noise).", least=0, panel=opt.TRAINING)] = 0,
    as_json: opt.Json = False,
) -> None:
    """Train a VAE on a folder of images. Only DATA is required; every default it chooses is printed.

    Examples:

        latentcli train photos/

        latentcli train mnist/train --held-out mnist/test --preset book

        latentcli train photos.zip --size 128 --minutes 60 --name large

    Ctrl-C stops it; the same command resumes it. It never overwrites another run. More --epochs or --minutes extend
    a finished run. `latentcli check` shows what it would read.
    """
    wanted = opt.parse_size(size)
    console = Console(as_json)
    let_threads_sleep()

    with Waiting("starting"):
        from latentcli.cli.training_view import StopRequest, follow_training
        from latentcli.storage import catalog
        from latentcli.training import plan
        from latentcli.training.sharp import run as sharpen

    model_name = catalog.check_name(name, "model") if name else catalog.new_model_name(data)
    folder = catalog.OWN_MODELS / model_name
    request = plan.TrainRequest(
        preset=cast(Preset, preset),  # TrainRequest refuses other names
        size=wanted,
        crop=crop,
        aligned=aligned,
        background=background,
        latent_dim=latent_dim,
        capacity=capacity,
        likelihood=likelihood,
        epochs=epochs,
        minutes=minutes,
        beta=beta,
        flip=flip,
        augment=augment,
        held_out=held_out,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        precision=precision,
        device=device,
        threads=threads,
        start_from=catalog.find_model(start_from).path if start_from else None,
        labels=labels,
    )
    with Waiting("looking at the images"):
        settled = plan.prepare(folder, data, request)
    console.facts["model"] = folder.name
    console.say(
        f"{folder}: {settled.choice.describe()} "
        "(change with --preset, --size, --latent-dim, --beta, --epochs, --minutes)"
    )
    if settled.finished and (not sharp or sharpen.plan_after(settled).finished):
        _say_finished(console, settled)
        return
    stop = StopRequest()
    reports = sharpen.train_in_stages(settled, sharp, stop)
    follow_training(console, reports, stop, folder if log else None)


def _say_finished(console: Console, settled: "Plan") -> None:
    from latentcli.storage import catalog

    console.say(f"already finished; train another with --name. Next: latentcli sample --model {settled.folder.name}")
    console.facts["model_id"] = catalog.find_model(settled.folder.name).model_id
    console.wrote(settled.folder / MODEL_FILE)
    console.print_json()
