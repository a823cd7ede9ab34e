"""Seven trainings spoiled on purpose, and what the verdict says of each.

    python benchmarks/spoiled.py DATA [--only NAME]

DATA holds `faces/` (128x128 JPEG) and `mnist/train` (28x28 PNG). Runs are made in the current folder and kept. A row
ends in "named" when the verdict finds the cause.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Spoiled:
    """A command line, and what the verdict should be about."""

    name: str
    command: str
    about: str


RUNS = [
    Spoiled("beta 50", "{data}/mnist/train --beta 50 --minutes 2", "collapse"),
    Spoiled("20 images", "twenty --held-out others --size 64 --epochs 400", "overfitting"),
    Spoiled("1 minute", "{data}/faces --size 64 --minutes 1", "too little training"),
    Spoiled("constant images", "constant --size 64 --epochs 10", "alike"),
    Spoiled("latent of 1", "{data}/mnist/train --latent-dim 1 --minutes 2", "latent too small"),
    Spoiled("wrong likelihood, faces", "{data}/faces --size 64 --likelihood bernoulli --minutes 2", "likelihood"),
    Spoiled("wrong likelihood, digits", "{data}/mnist/train --likelihood gaussian --minutes 2", "likelihood"),
]


def make_folders(faces: Path) -> None:
    """`twenty` of the faces, a hundred `others`, and one of them a hundred times as `constant`."""
    found = sorted(faces.glob("*.jpg"))
    for name, chosen in (("twenty", found[:20]), ("others", found[100:200]), ("constant", found[:1] * 100)):
        folder = Path(name)
        folder.mkdir(exist_ok=True)
        for number, path in enumerate(chosen):
            shutil.copyfile(path, folder / f"{number:03d}.jpg")


def verdict(spoiled: Spoiled, data: Path) -> list[dict[str, str]]:
    words = [word.format(data=data) for word in spoiled.command.split()]
    name = spoiled.name.replace(" ", "-").replace(",", "")
    command = [sys.executable, "-m", "latentcli", "train", *words, "--name", name, "--json"]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout)["verdict"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=[spoiled.name for spoiled in RUNS], action="append")
    asked = parser.parse_args()
    make_folders(asked.data / "faces")
    rows = [(run, verdict(run, asked.data)) for run in RUNS if not asked.only or run.name in asked.only]
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    for spoiled, findings in rows:
        named = any(finding["about"] == spoiled.about and finding["grade"] == "problem" for finding in findings)
        print(f"\n{spoiled.name}: {'named' if named else 'NOT NAMED'}")
        for finding in findings:
            print(f"  {finding['grade']}: {finding['text']}{' -> ' + finding['advice'] if finding['advice'] else ''}")


if __name__ == "__main__":
    main()
