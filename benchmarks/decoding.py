"""Decoding a folder of images in processes: the package's own pool against joblib's (loky), and a picture that kills.

    python benchmarks/decoding.py FOLDER

FOLDER holds images, like the faces of the data set. Both decode the same rows, 48 at a time, to 64x64 RGB, one process
a core; the best and the median of five runs that take turns. Then one picture ends joblib's process that decodes it;
that the own pool goes on without it is tested (tests/data/test_cache.py).
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor

from latentcli.config import ModelConfig
from latentcli.data import decode
from latentcli.data.sources import KINDS, Listing, open_source, scan

CONFIG = ModelConfig(width=64, height=64, channels=3, latent_dim=16)
RUNS = 5
AT_ONCE = 48  # images


def by_joblib(listing: Listing, rows: np.ndarray, killer: int = -1) -> Iterator[decode.Batch]:
    source = listing.source
    parts = (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))
    jobs = (
        joblib.delayed(some)(source.kind, source.path, [listing.name(row) for row in part], killer in part)
        for part in parts
    )
    yield from joblib.Parallel(n_jobs=os.cpu_count(), return_as="generator", batch_size=1)(jobs)


def some(kind: str, path: Path, names: list[str], kills: bool) -> decode.Batch:
    """What a process of joblib's does."""
    if kills:
        os._exit(1)
    with KINDS[kind](path).reader() as locate:
        return decode.decode(locate, names, CONFIG)


def by_own_pool(listing: Listing, rows: np.ndarray) -> Iterator[decode.Batch]:
    for _, batch in decode.decode_rows(listing, rows, CONFIG):
        yield batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    listing = scan(open_source(parser.parse_args().folder))
    rows = np.arange(len(listing))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, joblib {joblib.__version__}")
    ways: dict[str, Callable[[Listing, np.ndarray], Iterator[decode.Batch]]] = {
        "own pool": by_own_pool,
        "joblib": by_joblib,
    }
    first: dict[str, list[float]] = {name: [] for name in ways}
    whole: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            get_reusable_executor().shutdown()  # each run starts its processes, as a command does
            started = time.perf_counter()
            for number, _ in enumerate(way(listing, rows)):
                if number == 0:
                    first[name].append(time.perf_counter() - started)
            whole[name].append(time.perf_counter() - started)
    print(f"{len(rows):,} images    first answer    all (best, median)")
    for name in ways:
        best, median = min(whole[name]), statistics.median(whole[name])
        print(f"{name:12}  {statistics.median(first[name]):10.2f} s    {best:.2f} s, {median:.2f} s")
    got = 0
    try:
        for batch in by_joblib(listing, rows, killer=len(rows) // 2):
            got += len(batch[1])
        end = "all came"
    except BrokenProcessPool as error:
        end = f"then {type(error).__name__}"
    print(f"a picture in the middle that ends its process, by joblib: {got:,} images, {end}")


if __name__ == "__main__":
    main()
