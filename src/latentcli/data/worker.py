"""Decoding some images of a source: the work itself, and the process of its own that does it beside others.

Python decodes small pictures one at a time, whatever the number of threads, so a folder is decoded by processes. They
import no torch, get names as JSON lines, and answer each with a JSON line of facts followed by the pixels.
"""

import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from latentcli.config import ModelConfig
from latentcli.errors import ImageError
from latentcli.images import fit, open_picture
from latentcli.sources import Reader, Source

Facts = tuple[int, int, str]  # width and height in pixels, Pillow's mode


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What some images became."""

    pixels: np.ndarray  # uint8 (n, height, width, channels); black where unreadable
    facts: list[Facts | str]  # a text says why the image cannot be read


def decode(reader: Reader, names: Sequence[str], config: ModelConfig) -> Answer:
    """Read, crop and resize images by name; unreadable ones are told, never raised."""
    pixels = np.zeros((len(names), config.height, config.width, config.channels), dtype=np.uint8)
    facts: list[Facts | str] = []
    for row, name in enumerate(names):
        try:
            with open_picture(*reader.locate(name)) as picture:
                found = (*picture.size, picture.mode)
                pixels[row] = fit(picture, config)
                facts.append(found)
        except ImageError as error:
            facts.append(str(error))
    return Answer(pixels, facts)


def order(source: Source, config: ModelConfig) -> bytes:
    """The first line a worker process gets."""
    job = {"kind": source.kind, "path": str(source.path), "config": config.to_json()}
    return json.dumps(job).encode() + b"\n"


def receive(stream: IO[bytes], config: ModelConfig, count: int) -> Answer | None:
    """A worker process's answer about `count` images, or None when it died."""
    line = stream.readline()
    pixels = np.empty((count, config.height, config.width, config.channels), dtype=np.uint8)
    if not line.endswith(b"\n") or stream.readinto(pixels.data) != pixels.nbytes:  # type: ignore[attr-defined]
        return None
    facts = [found if isinstance(found, str) else (found[0], found[1], found[2]) for found in json.loads(line)]
    return Answer(pixels, facts)


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that asks decides when to stop
    job = json.loads(sys.stdin.buffer.readline())
    config = ModelConfig.from_json(job["config"])
    with Reader(Source(job["kind"], Path(job["path"]))) as reader:
        for line in sys.stdin.buffer:
            answer = decode(reader, json.loads(line), config)
            sys.stdout.buffer.write(json.dumps(answer.facts).encode() + b"\n")
            sys.stdout.buffer.write(answer.pixels.data)
            sys.stdout.buffer.flush()
