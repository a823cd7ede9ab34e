"""Speed and memory of figures: files of single samples, a video, and a map.

    pip install 'latentcli[video]'
    python benchmarks/drawing.py [--model faces] [--n 10000] [--mapped 20000]

`sample --each` is measured against its parts alone: decoding the same latents, and writing the same pictures with
Pillow in as many threads as there are cores. Each command is a process of its own, start included.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np

from latentcli.imaging.images import to_pictures
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.storage import catalog
from latentcli.storage.latents import Latents

BATCH = 64


def run(*arguments: object) -> tuple[float, float]:
    """Seconds and peak MiB of a command."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "latentcli", *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, arguments
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def bare(model: LoadedModel, z: np.ndarray, folder: Path) -> float:
    """Seconds of decoding, and of Pillow's writes in threads while the next latents are decoded."""
    folder.mkdir()
    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(z), BATCH):
            pictures = to_pictures(model.decode(z[start : start + BATCH]))
            names = [folder / f"{start + number}.png" for number in range(len(pictures))]
            list(pool.map(lambda picture, name: picture.save(name), pictures, names))
    return time.perf_counter() - started


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square, in levels."""
    return float(np.sqrt(np.square(a.astype(np.float32) - b).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="faces")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--mapped", type=int, default=20_000)
    asked = parser.parse_args()
    entry = catalog.find_model(asked.model)
    model = load_model(entry.path)
    print(f"{platform.machine()}, {os.cpu_count()} cores, model {entry.name}", flush=True)
    chosen = ("--model", entry.path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        z = model.prior.sample(range(asked.n))
        loop = bare(model, z, folder / "bare")
        few = run("sample", "--n", 256, "--each", *chosen, "-o", folder / "few")[1]
        seconds, memory = run("sample", "--n", asked.n, "--each", *chosen, "-o", folder / "each")
        print(
            f"sample --each, {asked.n:,}: {seconds:.1f} s, {loop / seconds:.0%} of the speed of its loop ({loop:.1f} s)"
        )
        print(f"  peak memory {memory:.0f} MiB, of 256 samples {few:.0f} MiB", flush=True)
        film = folder / "walk.mp4"
        walk = ("--loop", "--method", "spline", "--even", "--seconds", 20, "--fps", 24, "--scale", 8)
        seconds, memory = run("interpolate", "seed:0-5", *walk, *chosen, "-o", film)
        with av.open(film) as video:
            length = video.duration / 1e6
            frames = (frame.to_ndarray(format="rgb24") for frame in video.decode(video=0))
            first = last = next(frames)
            steps = []
            for frame in frames:
                steps.append(difference(last, frame))
                last = frame
        closing = difference(last, first)
        print(f"20 s of MP4 at 24 frames/s, --scale 8: {seconds:.1f} s, {memory:.0f} MiB; it has {length:g} s")
        print(
            f"  from frame to frame {np.mean(steps):.2f} levels (sd {np.std(steps):.2f}), last to first {closing:.2f}"
        )
        mapped = model.prior.sample(range(asked.mapped))
        names = tuple(f"{number}.png" for number in range(asked.mapped))
        Latents(mapped, names, model.model_id).save(folder / "m.latents.safetensors")
        for options in (("--method", "tsne"), ("--method", "tsne", "--grid"), ("--method", "pca")):
            for suffix in (".png", ".html"):
                target = folder / f"map{len(options)}{options[1]}{suffix}"
                seconds, memory = run("map", folder / "m.latents.safetensors", *options, *chosen, "-o", target)
                words = " ".join(options)
                print(
                    f"map of {asked.mapped:,} latents, {words}, {suffix}: {seconds:.1f} s, {memory:.0f} MiB", flush=True
                )


if __name__ == "__main__":
    main()
