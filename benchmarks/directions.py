"""Change of images by a step of one standard deviation: along principal components, the decoder's directions, chance.

    python benchmarks/directions.py [MODEL...]

Printed are root mean squares over 64 samples, in levels of 255, for the first, the tenth and the middle direction of
each kind, and the mean of ten directions by chance.
"""

import sys

import numpy as np

from latentcli.concepts import axes
from latentcli.model.modelfile import load_model
from latentcli.pipelines.discover import directions_of_pictures
from latentcli.storage import catalog

MOVED = 64
CHANCES = 10


def main() -> None:
    print("model           dims   kind       1st   10th  middle")
    for name in sys.argv[1:] or ["faces"]:
        model = load_model(catalog.find_model(name).path)
        where, count = model.geometry, model.config.latent_dim
        z = model.prior.sample(range(MOVED))
        before = model.decode(z)

        def change(axis: axes.Axis) -> float:
            return 255 * float(np.sqrt(np.square(model.decode(z + axis.step) - before).mean()))  # noqa: B023

        events = directions_of_pictures(model, count)
        try:
            while True:
                next(events)
        except StopIteration as end:
            pictures = end.value
        for kind, found in (("latents", axes.components(where, count)), ("pictures", pictures)):
            cells = "".join(f"{change(found[rank]):7.1f}" for rank in (0, 9, count // 2))
            print(f"{model.name:15} {count:4}   {kind:8}{cells}", flush=True)
        chance = np.mean([change(axes.at_random(where, seed)) for seed in range(CHANCES)])
        print(f"{model.name:15} {count:4}   chance  {chance:7.1f}", flush=True)


if __name__ == "__main__":
    main()
