"""Command `latentcli sharpen`: train the decoder of a model further, for crisper pictures."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.complete import model_names
from latentcli.cli.console import Console
from latentcli.cli.terminal import Waiting
from latentcli.config import Device, Precision
from latentcli.defaults import SHARP_LEAST_STEPS, SHARP_SHARE
from latentcli.runtime import let_threads_sleep
from latentcli.storage.names import MODEL_FILE, PLAIN_FILE


def sharpen(
    model: str = opt.argument("A model of yours, by name or path.", metavar="MODEL", complete=model_names),
    data: Path | None = opt.DATA.argument(
        "The images that it was trained on. (default: where they were)", default=None, metavar="[DATA]"
    ),
    minutes: float | None = opt.TRAINING.option(
        f"Duration; the speed is measured once. (default: as many steps as show {SHARP_SHARE:.0%} of the "
        f"images that were shown in training, at least {SHARP_LEAST_STEPS})"
    ),
    precision: Precision = opt.TRAINING.option(
        "`auto` takes bf16 where a test shows that it is faster and as good.", default="auto"
    ),
    device: Device = opt.device,
    threads: int | None = opt.threads,
    seed: int = opt.TRAINING.option("Random seed (shuffling, noise, samples).", default=0),
    as_json: bool = opt.as_json,
) -> None:
    """Train a model's decoder on, until its pictures are as crisp as the images.

    Examples:

        latentcli sharpen photos
        latentcli sharpen photos pictures/ --minutes 30

    The decoder learns against a discriminator. The encoder stays as it is, so latents and concept vectors stay valid.
    The model before is kept as `plain.safetensors`; it stays in use where the sharp one loses more than 1.5 dB or its
    samples get worse. Ctrl-C stops it; the same command resumes it.
    """
    console = Console(as_json)
    let_threads_sleep()

    with Waiting("starting"):
        from latentcli.cli.training_view import StopRequest, follow_training
        from latentcli.storage import catalog
        from latentcli.training.sharp.plan import SharpenRequest, prepare
        from latentcli.training.sharp.run import sharpen as run

    entry = catalog.find_model(model)
    console.facts["model"] = entry.name
    with Waiting("looking at the images"):
        plan = prepare(entry, data, SharpenRequest(minutes, precision, seed, device, threads))
    if plan.finished:
        plain = plan.folder / PLAIN_FILE
        if entry.header.training and entry.header.training.sharpening:
            console.say(f"{entry.name} is sharp already; the model before is {plain}")
        else:
            console.say(f"{entry.name} was not sharpened: no decoder was good enough; its own is in use")
        console.wrote(plan.folder / MODEL_FILE)
        console.print_json()
        return
    stop = StopRequest()
    follow_training(console, run(plan, stop), stop)
