"""Decoding of images by worker processes, and the table of decoded pixels with facts about each picture.

Python decodes small pictures one at a time, whatever the number of threads, so processes decode a folder. A worker
imports no torch, reads lines of names in JSON, and answers each by one JSON line of facts followed by the pixels.
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

_A_FEW = 300  # images up to which threads decode: they are done before a process has started
_AT_ONCE = 48  # images per request to a worker
_AHEAD = 4  # requests per worker that are under way, or answered and not yet fetched

Facts = tuple[int, int, str] | str  # width, height and Pillow's mode of a picture, or the reason why it is unreadable
# Images, uint8 (n, height, width, channels), black where unreadable, and the facts about each picture.
Batch = tuple[np.ndarray, list[Facts]]


@dataclass
class Decoded:
    """Decoded images of a listing, one per row; unreadable images are black, with the reason in `problems`."""

    pixels: np.ndarray  # uint8 (n, height, width, channels), in memory or mapped from a file
    sides: np.ndarray  # int32 (n, 2): width and height of the picture in its file; 0 where unreadable
    modes: np.ndarray  # (n,) bytes: Pillow's name of the mode; empty where unreadable
    problems: dict[int, str] = field(default_factory=dict)  # reason why an image is unreadable, by its row

    @classmethod
    def empty(cls, pixels: np.ndarray) -> "Decoded":
        """Table around `pixels`, which are still to be filled: all images count as unreadable."""
        return cls(pixels, np.zeros((len(pixels), 2), dtype=np.int32), np.zeros(len(pixels), dtype="S8"))

    @property
    def readable(self) -> np.ndarray:
        """Whether each image could be read: (n,) bool."""
        return self.sides[:, 0] > 0

    def put(self, rows: np.ndarray, batch: Batch) -> None:
        """Store a batch of decoded images, pixels and facts, at `rows` of the table."""
        self.pixels[rows], all_facts = batch
        for row, facts in zip(rows.tolist(), all_facts, strict=True):
            if isinstance(facts, str):
                self.problems[row] = facts
            else:
                self.sides[row], self.modes[row] = facts[:2], facts[2].encode()

    def take_over(self, rows: np.ndarray, other: "Decoded", other_rows: np.ndarray) -> None:
        """Copy the images at `other_rows` of the table `other`, all of them readable, to `rows` of this table."""
        self.sides[rows] = other.sides[other_rows]
        self.modes[rows] = other.modes[other_rows]
        for row, other_row in zip(rows, other_rows, strict=True):  # one by one: all images may not fit into memory
            self.pixels[row] = other.pixels[other_row]

    def smaller_than(self, config: ModelConfig, rows: np.ndarray) -> int:
        """Number of readable pictures at `rows` that were scaled up, having a side shorter than the model's images."""
        sides = np.sort(self.sides[rows][self.readable[rows]], axis=1)  # the shorter side first, also in landscape
        return int((sides < sorted((config.width, config.height))).any(axis=1).sum())


def decode(locate: Locate, names: Sequence[str], config: ModelConfig) -> Batch:
    """Pixels, at the model's size, of images found by `locate`; and the size and mode, or error message, of each."""
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
    """Decode the images at `rows` of a listing in parallel; yields blocks of `rows`, in order, each with its images."""
    if not len(rows):
        return
    requests = (rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE))
    with listing.source.reader() as locate, _Team(listing, locate, config, processes=len(rows) > _A_FEW) as team:
        waiting = deque(team.submit(request) for request in islice(requests, _AHEAD * team.size))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(team.submit(request) for request in islice(requests, 1))


class _Team:
    """Pool of decoding threads, one per core, each with its own worker process if `processes`; a context manager."""

    def __init__(self, listing: Listing, locate: Locate, config: ModelConfig, processes: bool) -> None:
        self.size = os.cpu_count() or 1
        self._listing = listing
        self._locate = locate
        self._config = config
        self._threads = ThreadPoolExecutor(self.size, initializer=self._start if processes else None)
        self._of_thread = threading.local()  # holds each thread's `process`; a thread without one decodes by itself
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
        """Start a worker process for the calling thread, which decodes by itself if none can be started."""
        self._of_thread.process = None
        if not self._closing:
            with contextlib.suppress(OSError):  # no more processes, or no interpreter to start
                self._of_thread.process = _Process(self._listing, self._config)
                self._started.append(self._of_thread.process)

    def _restart(self) -> None:
        """Replace the calling thread's dead process; if the new one dies at once, the thread decodes by itself."""
        self._of_thread.process.stop()
        self._start()
        if self._ask([]) is None:
            self._of_thread.process.stop()
            self._of_thread.process = None

    def _ask(self, names: list[str]) -> Batch | None:
        """Batch of images `names`, decoded in the calling thread or its process; None if the process died."""
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
    """Worker process that decodes images of one listing, with pipes for requests and answers."""

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
        self._requests.write(json.dumps(job).encode() + b"\n")  # buffered until the first request

    def ask(self, names: list[str]) -> Batch | None:
        """Batch of the images called `names`; None when the process died while decoding them."""
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
        with contextlib.suppress(OSError):  # the process may have died with a request unread
            self._requests.close()


def main() -> None:
    """Run a worker process: the first line of standard input is the job, every other one a list of names to decode."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides when to stop
    job = json.loads(sys.stdin.buffer.readline())
    config = ModelConfig.from_json(job["config"])
    with KINDS[job["kind"]](Path(job["path"])).reader() as locate:
        for line in sys.stdin.buffer:
            pixels, facts = decode(locate, json.loads(line), config)
            sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n")
            sys.stdout.buffer.write(pixels.data)
            sys.stdout.buffer.flush()
