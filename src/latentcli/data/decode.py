"""Decoding of images by worker processes, and the table of what they became.

Python decodes small pictures one at a time, whatever the number of threads, so processes decode a folder. They import
no torch, take names as JSON lines, and answer each line with one JSON line of facts followed by the pixels.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

import latentcli
from latentcli.config import ModelConfig
from latentcli.data.sources import KINDS, Listing, Locate
from latentcli.errors import ImageError
from latentcli.imaging.images import fit, open_picture

_A_FEW = 300  # images that are decoded before a process has started
_AT_ONCE = 48  # images per request to a worker
_AHEAD = 4  # requests per worker that are under way or wait to be fetched

Facts = tuple[int, int, str] | str  # width, height and Pillow's mode of a picture, or why it cannot be read
Batch = tuple[
    np.ndarray, list[Facts]
]  # images, uint8 (n, height, width, channels), black where unreadable; their facts


@dataclass
class Decoded:
    """One row per image of a listing; unreadable images are black, with the reason in `problems`."""

    pixels: np.ndarray  # uint8 (n, height, width, channels), in memory or mapped from a file
    sides: np.ndarray  # int32 (n, 2): width and height of the picture in its file; 0 where unreadable
    modes: np.ndarray  # (n,) bytes: Pillow's name of the mode; empty where unreadable
    problems: dict[int, str] = field(default_factory=dict)  # row: reason why it cannot be read

    @classmethod
    def empty(cls, pixels: np.ndarray) -> "Decoded":
        """A table for these pixels, to be filled; all of its images count as unreadable."""
        return cls(pixels, np.zeros((len(pixels), 2), dtype=np.int32), np.zeros(len(pixels), dtype="S8"))

    @property
    def readable(self) -> np.ndarray:
        """Whether each image could be read: (n,) bool."""
        return self.sides[:, 0] > 0

    def put(self, rows: np.ndarray, batch: Batch) -> None:
        """Store the images of `rows`."""
        self.pixels[rows], all_facts = batch
        for row, facts in zip(rows.tolist(), all_facts, strict=True):
            if isinstance(facts, str):
                self.problems[row] = facts
            else:
                self.sides[row], self.modes[row] = facts[:2], facts[2].encode()

    def take_over(self, rows: np.ndarray, other: "Decoded", other_rows: np.ndarray) -> None:
        """Copy readable images of another table to `rows`."""
        self.sides[rows] = other.sides[other_rows]
        self.modes[rows] = other.modes[other_rows]
        for row, other_row in zip(rows, other_rows, strict=True):  # one by one: together they may not fit into memory
            self.pixels[row] = other.pixels[other_row]

    def smaller_than(self, config: ModelConfig, rows: np.ndarray) -> int:
        """Number of readable pictures at `rows` that are smaller than the model's images and were scaled up."""
        sides = np.sort(self.sides[rows][self.readable[rows]], axis=1)  # whichever way up
        return int((sides < sorted((config.width, config.height))).any(axis=1).sum())


def decode(locate: Locate, names: Sequence[str], config: ModelConfig) -> Batch:
    """Read, crop and resize images by name; an unreadable one becomes its reason instead of an error."""
    pixels = np.zeros((len(names), config.height, config.width, config.channels), dtype=np.uint8)
    facts: list[Facts] = []
    for row, name in enumerate(names):
        try:
            with open_picture(*locate(name)) as picture:
                info = (*picture.size, picture.mode)  # before `fit` decodes it at another size
                pixels[row] = fit(picture, config)
                facts.append(info)
        except ImageError as error:
            facts.append(str(error))
    return pixels, facts


def decode_rows(listing: Listing, rows: np.ndarray, config: ModelConfig) -> Iterator[tuple[np.ndarray, Batch]]:
    """Decode the images at `rows` in parallel; yields blocks of these rows, in order, with their images."""
    if not len(rows):
        return
    requests = (rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE))
    with listing.source.reader() as locate, _Team(listing, locate, config, processes=len(rows) > _A_FEW) as team:
        waiting = deque(team.submit(request) for request in islice(requests, _AHEAD * team.size))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(team.submit(request) for request in islice(requests, 1))


class _Team:
    """One thread for each core, each with a worker process of its own if `processes`; a context manager."""

    def __init__(self, listing: Listing, locate: Locate, config: ModelConfig, processes: bool) -> None:
        self.size = os.cpu_count() or 1
        self._listing = listing
        self._locate = locate
        self._config = config
        self._threads = ThreadPoolExecutor(self.size, initializer=self._start if processes else None)
        self._of_thread = threading.local()  # `process` of each thread; a thread without one decodes by itself
        self._started: list[_Process] = []
        self._closing = False

    def __enter__(self) -> "_Team":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing = True
        for process in list(self._started):
            process.stop()
        self._threads.shutdown(cancel_futures=True)
        for process in self._started:  # also those that a thread was just starting
            process.stop()

    def submit(self, rows: np.ndarray) -> "Future[tuple[np.ndarray, Batch]]":
        return self._threads.submit(self._answer, rows)

    def _start(self) -> None:
        """Start a process for this thread, unless there can be none."""
        self._of_thread.process = None
        if not self._closing:
            with contextlib.suppress(OSError):  # no more processes, or no interpreter to start
                self._of_thread.process = _Process(self._listing, self._config)
                self._started.append(self._of_thread.process)

    def _restart(self) -> None:
        """Start another process for one that died, unless new ones do not even answer a greeting."""
        self._of_thread.process.stop()
        self._start()
        if self._ask([]) is None:
            self._of_thread.process.stop()
            self._of_thread.process = None

    def _ask(self, names: list[str]) -> Batch | None:
        """The images of these names, or None when the process of this thread died over them."""
        process: _Process | None = getattr(self._of_thread, "process", None)
        if process:
            return process.ask(names)
        return decode(self._locate, [] if self._closing else names, self._config)

    def _answer(self, rows: np.ndarray) -> tuple[np.ndarray, Batch]:
        names = [self._listing.name(row) for row in rows]
        batch = self._ask(names)
        if batch is None:  # another process takes the images one by one and finds the picture that kills it
            self._restart()
            batches = []
            for name in names:
                single = self._ask([name])
                if single is None:
                    self._restart()
                    path = self._listing.source.root / name
                    reason = f"{path} cannot be decoded (it ends the program that tries); remove it"
                    shape = (1, self._config.height, self._config.width, self._config.channels)
                    single = np.zeros(shape, dtype=np.uint8), [reason]
                batches.append(single)
            batch = np.concatenate([pixels for pixels, _ in batches]), [facts for _, (facts,) in batches]
        return rows, batch


class _Process:
    """A worker in a process of its own."""

    def __init__(self, listing: Listing, config: ModelConfig) -> None:
        package = str(Path(latentcli.__file__).parent.parent)
        paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._config = config
        self._process = subprocess.Popen(
            # -P: a numpy.py in the current folder is not ours
            [sys.executable, "-P", "-W", "ignore", "-c", "from latentcli.data.decode import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        job = {"kind": listing.source.kind, "path": str(listing.source.path), "config": config.to_json()}
        self._requests.write(json.dumps(job).encode() + b"\n")  # sent with the first request

    def ask(self, names: list[str]) -> Batch | None:
        """The images of these names, or None when the process died over them."""
        pixels = np.empty((len(names), self._config.height, self._config.width, self._config.channels), dtype=np.uint8)
        try:
            self._requests.write(json.dumps(names).encode() + b"\n")
            self._requests.flush()
        except OSError:
            return None
        line = self._answers.readline()
        if not line.endswith(b"\n") or self._answers.readinto(pixels.data) != pixels.nbytes:  # type: ignore[attr-defined]
            return None
        return pixels, json.loads(line)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with contextlib.suppress(OSError):  # it may have died with something unread
            self._requests.close()


def main() -> None:
    """Answer requests on the standard input until it ends; the first line is the job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that asks decides when to stop
    job = json.loads(sys.stdin.buffer.readline())
    config = ModelConfig.from_json(job["config"])
    with KINDS[job["kind"]](Path(job["path"])).reader() as locate:
        for line in sys.stdin.buffer:
            pixels, facts = decode(locate, json.loads(line), config)
            sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n")
            sys.stdout.buffer.write(pixels.data)
            sys.stdout.buffer.flush()
