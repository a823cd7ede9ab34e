"""Command `latentcli train`: a model from a folder of images."""

from pathlib import Path
from typing import Literal

from latentcli.cli import options as opt
from latentcli.cli.complete import model_names
from latentcli.cli.console import Console
from latentcli.cli.terminal import Waiting
from latentcli.config import Crop, Device, Likelihood, Precision, Preset
from latentcli.presets import DEFAULTS, FEW_IMAGES, LARGE, MANY_IMAGES
from latentcli.runtime import let_threads_sleep
from latentcli.storage.names import MODEL_FILE

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
    data: Path = opt.data,
    name: str | None = opt.OUTPUT.option(
        "Name of the model, which is kept in `models/<name>/`. (default: the folder's name)"
    ),
    preset: Preset | None = opt.preset,
    size: str | None = opt.size,
    crop: Crop | None = opt.crop,
    aligned: bool = opt.aligned,
    background: str | None = opt.background,
    latent_dim: int | None = opt.NETWORK.option(f"Numbers per latent. (default: {_LATENT_DIMS})"),
    capacity: float | None = opt.NETWORK.option(
        "Times as many feature maps at the finer levels: 2 costs about half the speed and gives pictures more "
        "detail, above all with --sharp. (default: 1)"
    ),
    likelihood: Likelihood | None = opt.NETWORK.option(
        "Pixel likelihood: `gaussian` for photos, `bernoulli` for near-black-and-white drawings and digits. "
        "(default: gaussian for photo, bernoulli for digits and book)"
    ),
    epochs: int | None = opt.TRAINING.option(
        f"Passes over the images; more of them extend a finished run. (default: {_EPOCHS})", callback=opt.between(1)
    ),
    minutes: float | None = opt.TRAINING.option(
        "Duration of the training instead of --epochs; the speed is measured once."
    ),
    beta: float | None = opt.TRAINING.option("Weight of the KL; 0 is a classical autoencoder. (default: 1)"),
    flip: bool | None = opt.TRAINING.option(
        "Mirror half of the images. (default: for photo, if mirrored ones look the same)", "--flip/--no-flip"
    ),
    augment: bool | None = opt.TRAINING.option(
        "Also move images a little, and change brightness and contrast of photos. "
        f"(default: for photo, and digits below {FEW_IMAGES:,} images, if moved ones look the same)",
        "--augment/--no-augment",
    ),
    labels: Path | None = opt.DATA.option(
        "A CSV table with a column of file names. Its other columns name parts of the images, which `sample "
        "--like` draws from. (default: sub-folders are such parts)",
        metavar="FILE",
    ),
    held_out: str | None = opt.held_out,
    batch_size: int | None = opt.TRAINING.option("Images per step.", callback=opt.between(2)),
    learning_rate: float | None = opt.TRAINING.option("Peak learning rate."),
    precision: Precision | None = opt.TRAINING.option(
        "`auto` takes bf16 where a test shows that it is faster and as good. (default: auto; fp32 for book)"
    ),
    start_from: str | None = opt.NETWORK.option(
        "Start from the weights of a model, whose network and size are taken over: for a few hundred pictures "
        "like its own.",
        "--from",
        complete=model_names,
    ),
    sharp: bool = opt.TRAINING.switch(
        "Afterwards train the decoder alone on, against a discriminator, until its pictures are as crisp as "
        "the images: see `latentcli sharpen`. (default: off)",
        "--sharp",
    ),
    device: Device = opt.device,
    threads: int | None = opt.threads,
    log: Literal["tensorboard"] | None = opt.OUTPUT.option(
        "Also write scalars and pictures into `models/<name>/tensorboard/`."
    ),
    seed: int = opt.TRAINING.option("Random seed (weights, shuffling, noise).", default=0, callback=opt.between(0)),
    as_json: bool = opt.as_json,
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
        from latentcli.training.run import run

        if sharp:
            from latentcli.training.sharp.run import plan_after, train_and_sharpen

    model_name = catalog.check_name(name, "model") if name else catalog.new_model_name(data)
    folder = catalog.OWN_MODELS / model_name
    request = plan.TrainRequest(
        preset=preset,
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
    if settled.finished and (not sharp or plan_after(settled).finished):
        console.say(f"already finished; train another with --name. Next: latentcli sample --model {folder.name}")
        console.facts["model_id"] = catalog.find_model(folder.name).model_id
        console.wrote(folder / MODEL_FILE)
        console.print_json()
        return
    stop = StopRequest()
    reports = train_and_sharpen(settled, stop) if sharp else run(settled, stop)
    follow_training(console, reports, stop, folder if log else None)
