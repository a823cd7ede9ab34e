"""Command `latentcli check`: a summary of the images that training would read."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from latentcli.cli import options as opt
from latentcli.cli.console import Console
from latentcli.cli.terminal import Waiting, duration
from latentcli.config import Crop, Device, Preset
from latentcli.figures.table import Table

if TYPE_CHECKING:
    from latentcli.training.check import Checked

_GROUPS, _NAMES = 10, 4  # most groups of duplicates that are listed, and most names in a group
_FIRST_LOOK = 10  # minutes of training that give a first impression


def check(
    data: Path = opt.data,
    preset: Preset | None = opt.preset,
    size: str | None = opt.size,
    crop: Crop | None = opt.crop,
    aligned: bool = opt.aligned,
    background: str | None = opt.background,
    held_out: str | None = opt.held_out,
    device: Device = opt.device,
    as_json: bool = opt.as_json,
) -> None:
    """Check a folder of images as training reads it: sizes, unreadable files, duplicates, how long it takes.

    Example:

        latentcli check photos/

    Every image is decoded once; `latentcli train` then finds them in the cache.
    """
    wanted = opt.parse_size(size)
    console = Console(as_json)

    with Waiting("starting"):
        from latentcli.events import Progress
        from latentcli.training.check import Checked
        from latentcli.training.check import check as run_check
        from latentcli.training.plan import TrainRequest

    request = TrainRequest(
        preset=preset, size=wanted, crop=crop, aligned=aligned, background=background, held_out=held_out, device=device
    )
    with Waiting("looking at the images") as line:
        for report in run_check(data, request):
            if isinstance(report, Progress):
                line.update(report.what, report.done, report.total)
            else:
                checked: Checked = report
    if as_json:
        values = {name: getattr(checked, name) for name in checked.__slots__ if name not in ("choice", "unreadable")}
        configs = {"model_config": checked.choice.model.to_json(), "train_config": asdict(checked.choice.config)}
        console.facts |= configs | values | {"notes": list(map(opt.as_typed, checked.notes))}
        console.unreadable = list(checked.unreadable)
        console.print_json()
        return
    console.table(Table("", (), _rows(checked)))
    groups = [
        ", ".join(group[:_NAMES]) + (f" and {len(group) - _NAMES} more" if len(group) > _NAMES else "")
        for group in checked.duplicates[:_GROUPS]
    ]
    if len(checked.duplicates) > _GROUPS:
        groups.append(f"{len(checked.duplicates) - _GROUPS} more groups")
    for title, items in (("unreadable", checked.unreadable), ("duplicates", groups)):
        if items:
            for text in ("", f"{title}:", *(f"  {item}" for item in items)):
                console.line(text)


def _rows(checked: "Checked") -> list[tuple[str, str]]:
    sizes = (f"{width}x{height}" for width, height in (checked.smallest, checked.median, checked.largest))
    epochs = checked.choice.config.epochs
    seconds = checked.seconds_per_epoch * epochs
    hint = f"; --minutes {_FIRST_LOOK} gives a first look" if seconds > 60 * _FIRST_LOOK else ""
    groups = len(checked.duplicates)
    duplicates = f"{groups} group{'s' * (groups > 1)}" if groups else "none"
    if checked.shared:
        duplicates += f", {checked.shared} both in training and held-out images: held-out metrics will look too good"
    rows = [
        ("images", f"{checked.images} to train on, {checked.held_out} held out"),
        ("unreadable", str(len(checked.unreadable))),
        ("sizes", "min {}, median {}, max {}".format(*sizes)),
        ("modes", ", ".join(f"{count} {mode}" for mode, count in checked.modes.items())),
        ("duplicates", duplicates),
        ("would train", checked.choice.describe()),
        ("precision", checked.precision),
        ("an epoch", f"about {duration(checked.seconds_per_epoch)} here"),
        ("would take", f"about {duration(seconds)} for {epochs} epochs{hint}"),
    ]
    if checked.passed_over:
        passed = ", ".join(f"{count} {what}" for what, count in sorted(checked.passed_over.items()))
        rows.insert(2, ("passed over", passed))
    return rows + [("note", opt.as_typed(note)) for note in checked.notes]
