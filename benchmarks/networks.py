"""The experiments behind the networks of `photo` and `digits`: quality after the same few minutes on this machine.

    python benchmarks/networks.py DATA [--minutes 3] [--only NAME]

DATA holds `faces/`, `mnist/train` and `mnist/test`. Each row trains anew for the same time and changes one thing
against the first of its group; the learning rate falls to 0 within that time. Held-out figures are printed.
"""

import argparse
import os
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from latentcli.config import ModelConfig
from latentcli.training import events, plan, run

FACES = {"size": (64, 64)}
DIGITS = {"size": (28, 28)}
OLD = {"optimizer": "adamw", "learning_rate": 1e-3}


@dataclass(frozen=True)
class Experiment:
    name: str
    data: str
    request: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)


EXPERIMENTS = [
    Experiment("faces", "faces", FACES),
    Experiment("faces, AdamW 1e-3", "faces", FACES, train=OLD),
    Experiment("faces, AdamW 2e-3", "faces", FACES, train=OLD | {"learning_rate": 2e-3}),
    Experiment("faces, Muon 1e-3", "faces", FACES, train={"learning_rate": 1e-3}),
    Experiment("faces, Muon 4e-3", "faces", FACES, train={"learning_rate": 4e-3}),
    Experiment("faces, batch 128", "faces", FACES | {"batch_size": 128}),
    Experiment("faces, latent 128", "faces", FACES | {"latent_dim": 128}),
    Experiment("faces, hidden 512", "faces", FACES, model={"hidden": 512}),
    Experiment("faces, latent 256", "faces", FACES | {"latent_dim": 256}),
    Experiment("faces, narrower", "faces", FACES, model={"widths": (24, 48, 96, 160)}),
    Experiment("faces, wider", "faces", FACES, model={"widths": (48, 96, 160, 256)}),
    Experiment("digits", "mnist/train", DIGITS),
    Experiment("digits, AdamW 1e-3", "mnist/train", DIGITS, train=OLD),
    Experiment("digits, wider", "mnist/train", DIGITS, model={"widths": (32, 64, 128)}),
    Experiment("digits, no hidden layer", "mnist/train", DIGITS, model={"hidden": 0}),
    Experiment("digits, 2-D", "mnist/train", DIGITS | {"latent_dim": 2}),
    Experiment("digits, 2-D, AdamW 1e-3", "mnist/train", DIGITS | {"latent_dim": 2}, train=OLD),
    Experiment("digits, 2-D, no hidden layer", "mnist/train", DIGITS | {"latent_dim": 2}, model={"hidden": 0}),
]


def measure(experiment: Experiment, data: Path, minutes: float) -> str:
    held_out = str(data / "mnist/test") if experiment.data.startswith("mnist") else None
    folder = Path("models") / "".join(letter if letter.isalnum() else "-" for letter in experiment.name)
    request = plan.TrainRequest(minutes=minutes, held_out=held_out, **experiment.request)
    settled = plan.prepare(folder, data / experiment.data, request)
    model = ModelConfig.from_json(settled.choice.model.to_json() | experiment.model)
    config = replace(settled.choice.config, **experiment.train)
    settled = replace(settled, choice=replace(settled.choice, model=model, config=config))
    parameters = steps = 0
    for report in run.run(settled):
        if isinstance(report, events.Started):
            parameters, steps = report.parameters, report.steps
        elif isinstance(report, events.Finished):
            figures, seconds = report.held_out, report.seconds
    return (
        f"{experiment.name:30} {parameters / 1e6:5.1f} M {steps * config.batch_size:8} images {seconds / 60:5.1f} min  "
        f"PSNR {figures.psnr:6.2f} dB  -ELBO {figures.negative_elbo:10.2f}  KL {figures.kl:6.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--only", action="append", help="a name from the table; repeat it for several")
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}", flush=True)
    for experiment in EXPERIMENTS:
        if not asked.only or experiment.name in asked.only:
            print(measure(experiment, asked.data, asked.minutes), flush=True)


if __name__ == "__main__":
    main()
