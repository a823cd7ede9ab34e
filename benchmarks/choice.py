"""Which model the rule of `pipelines/choose.py` takes for pictures of each bundled kind, and other rules beside.

    python benchmarks/choice.py DATA [--pictures 150]

DATA holds `faces/`, `avatars/`, `emoji/` and `mnist/test/`, as for `recipes/models.py`. Printed is the share of each
kind's pictures that goes to the model of its kind: by the rule, without the factor on face crops in which no face is
found, and by the error as a multiple of the model's own limit.
"""

import argparse
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from intervals import share
from PIL import Image

from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.pipelines import choose
from latentcli.storage import catalog

KINDS = {"faces": "faces", "avatars": "avatars", "emoji": "emoji", "digits": "mnist/test"}
Errors = Mapping[str, tuple[float, float]]  # of each model: the error as it is, and the limit


def measured(models: Mapping[str, LoadedModel], limits: Mapping[str, float], picture: Image.Image) -> Errors:
    return {name: (choose._error(model, picture)[0], limits[name]) for name, model in models.items()}


def rules(factor: float) -> dict[str, Callable[[Errors], str]]:
    def least(errors: Errors) -> str:
        return min(errors, key=lambda name: errors[name][0])

    def relative(errors: Errors) -> str:
        return min(errors, key=lambda name: errors[name][0] / errors[name][1])

    return {f"least error, x {factor:g} without a face": least, "error over limit": relative}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=150)
    asked = parser.parse_args()
    entries = {entry.name: entry for entry in catalog.bundled_models()}
    models = {name: open_model(entry) for name, entry in entries.items()}
    limits = {name: choose._limit(entry) or np.inf for name, entry in entries.items()}
    for factor in (choose._NO_FACE, 1.0):
        choose._NO_FACE = factor
        for kind, folder in KINDS.items():
            paths = sorted(path for path in (asked.data / folder).rglob("*") if path.is_file())
            some = random.Random(0).sample(paths, asked.pictures)
            found = [measured(models, limits, choose._pictures([path])[0][0]) for path in some]
            known = share(np.array([errors[kind][0] <= errors[kind][1] for errors in found]))
            shares = {
                name: share(np.array([rule(errors) == kind for errors in found]))
                for name, rule in rules(factor).items()
            }
            words = ", ".join(f"{name}: {found}" for name, found in shares.items())
            print(f"{kind:8} known to its model {known}; {words}", flush=True)


if __name__ == "__main__":
    main()
