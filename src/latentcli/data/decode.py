"""Decoding some images of a source: the work itself, and the process of its own that does it beside others.

Python decodes small pictures one at a time, whatever the number of threads, so a folder is decoded by processes. They
import no torch, get names as JSON lines, and answer each with a JSON line of facts followed by the pixels.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import IO

import numpy as np

import latentcli
from latentcli.config import ModelConfig
from latentcli.data.sources import KINDS, Listing, Reader, Source
from latentcli.errors import ImageError
from latentcli.imaging.images import fit, open_picture

ImageInfo = tuple[int, int, str]  # width and height in pixels, Pillow's mode


@dataclasses.dataclass(frozen=True, slots=True)
class DecodedBatch:
    """What some images became."""

    pixels: np.ndarray  # uint8 (n, height, width, channels); black where unreadable
    facts: list[ImageInfo | str]  # a text says why the image cannot be read


def decode(reader: Reader, names: Sequence[str], config: ModelConfig) -> DecodedBatch:
    """Read, crop and resize images by name; unreadable ones are told, never raised."""
    pixels = np.zeros((len(names), config.height, config.width, config.channels), dtype=np.uint8)
    facts: list[ImageInfo | str] = []
    for row, name in enumerate(names):
        try:
            with open_picture(*reader.locate(name)) as picture:
                found = (*picture.size, picture.mode)
                pixels[row] = fit(picture, config)
                facts.append(found)
        except ImageError as error:
            facts.append(str(error))
    return DecodedBatch(pixels, facts)


def order(source: Source, config: ModelConfig) -> bytes:
    """The first line a worker process gets."""
    job = {"kind": source.kind, "path": str(source.path), "config": config.to_json()}
    return json.dumps(job).encode() + b"\n"


def receive(stream: IO[bytes], config: ModelConfig, count: int) -> DecodedBatch | None:
    """A worker process's answer about `count` images, or None when it died."""
    line = stream.readline()
    pixels = np.empty((count, config.height, config.width, config.channels), dtype=np.uint8)
    if not line.endswith(b"\n") or stream.readinto(pixels.data) != pixels.nbytes:  # type: ignore[attr-defined]
        return None
    facts = [found if isinstance(found, str) else (found[0], found[1], found[2]) for found in json.loads(line)]
    return DecodedBatch(pixels, facts)


def main() -> None:
    """DecodedBatch until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that asks decides when to stop
    job = json.loads(sys.stdin.buffer.readline())
    config = ModelConfig.from_json(job["config"])
    with KINDS[job["kind"]](Path(job["path"])).reader() as reader:
        for line in sys.stdin.buffer:
            answer = decode(reader, json.loads(line), config)
            sys.stdout.buffer.write(json.dumps(answer.facts).encode() + b"\n")
            sys.stdout.buffer.write(answer.pixels.data)
            sys.stdout.buffer.flush()


_A_FEW = 300  # images that are decoded before a process has started
_AT_ONCE = 48  # images per question to a worker
_AHEAD = 4  # answers per worker that may wait


def answers(listing: Listing, rows: np.ndarray, config: ModelConfig) -> Iterator[tuple[np.ndarray, DecodedBatch]]:
    """Decode the images at `rows`: some of the rows at a time, in order, with what they became."""
    questions = (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
    if not len(rows):
        return
    with _Team(listing, config, processes=len(rows) > _A_FEW) as team:
        waiting = deque(team.ask(question) for question in islice(questions, _AHEAD * team.size))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(team.ask(question) for question in islice(questions, 1))


class _Team:
    """As many workers as cores, each asked by a thread of its own."""

    def __init__(self, listing: Listing, config: ModelConfig, processes: bool) -> None:
        self.size = os.cpu_count() or 1
        self._listing = listing
        self._config = config
        self._reader = listing.source.reader()
        self._threads = ThreadPoolExecutor(self.size)
        self._closing = False
        self._running: set[_Process] = set()
        self._free: SimpleQueue[_Process | None] = SimpleQueue()  # None decodes in this process
        for _ in range(self.size):
            self._free.put(self._start() if processes else None)

    def __enter__(self) -> "_Team":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing = True
        for process in list(self._running):
            process.stop()
        self._threads.shutdown(cancel_futures=True)
        self._reader.__exit__()

    def ask(self, rows: np.ndarray) -> "Future[tuple[np.ndarray, DecodedBatch]]":
        return self._threads.submit(self._ask, rows)

    def _start(self) -> "_Process | None":
        if self._closing:
            return None
        try:
            process = _Process(self._listing, self._config)
        except OSError:  # no more processes, or no interpreter to start
            return None
        self._running.add(process)
        return process

    def _replace(self, process: "_Process | None") -> "_Process | None":
        """Another worker for one that died; None where they do not even answer a greeting."""
        if process:
            self._end(process)
        fresh = self._start()
        if fresh and fresh.ask([]) is None:
            self._end(fresh)
            return None
        return fresh

    def _end(self, process: "_Process") -> None:
        process.stop()
        self._running.discard(process)

    def _ask(self, rows: np.ndarray) -> tuple[np.ndarray, DecodedBatch]:
        names = [self._listing.name(row) for row in rows]
        process = self._free.get()
        try:
            answer = process.ask(names) if process else decode(self._reader, names, self._config)
            if answer is None:
                process = self._replace(process)
                process, answer = self._ask_one_by_one(process, names)
        finally:
            self._free.put(process)
        return rows, answer

    def _ask_one_by_one(self, process: "_Process | None", names: list[str]) -> tuple["_Process | None", DecodedBatch]:
        """After a worker died: find the picture that kills it, and go on without. Without workers, do it here."""
        if process is None:
            return None, decode(self._reader, names if not self._closing else [], self._config)
        found: list[DecodedBatch] = []
        for name in names:
            answer = process.ask([name]) if process else decode(self._reader, [name], self._config)
            if answer is None:
                process = self._replace(process)
                black = np.zeros((1, self._config.height, self._config.width, self._config.channels), dtype=np.uint8)
                path = self._listing.source.root / name
                answer = DecodedBatch(black, [f"{path} cannot be decoded (it ends the program that tries); remove it"])
            found.append(answer)
        pixels = np.concatenate([answer.pixels for answer in found])
        return process, DecodedBatch(pixels, [answer.facts[0] for answer in found])


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
        self._send(order(listing.source, config))

    def _send(self, line: bytes) -> bool:
        assert self._process.stdin
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def ask(self, names: list[str]) -> DecodedBatch | None:
        """The answer, or None when the process died over it."""
        assert self._process.stdout
        if not self._send(json.dumps(names).encode() + b"\n"):
            return None
        return receive(self._process.stdout, self._config, len(names))

    def stop(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        with contextlib.suppress(OSError):  # it may have died with something unread
            self._process.stdin.close()
