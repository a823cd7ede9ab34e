"""Check of a source of images without training: unreadable images, duplicates, sizes, and the speed of training."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentcli.data.decode import Decoded
from latentcli.events import Progress
from latentcli.model.device import choose_device
from latentcli.training import machine
from latentcli.training.images import images_of, read
from latentcli.training.plan import Choice, TrainRequest, choose


@dataclass(frozen=True, slots=True)
class Checked:
    """Findings about a source of images, and the model and options that a training on it would have."""

    choice: Choice
    images: int  # readable, to train on
    held_out: int  # readable, to measure on
    unreadable: tuple[str, ...]  # error messages, one per file, each with the file's path
    notes: tuple[str, ...]
    passed_over: dict[str, int]  # kind of file that is not read as an image -> number of files
    modes: dict[str, int]  # Pillow's name of a colour mode -> number of images
    smallest: tuple[int, int]  # least width and least height in pixels, perhaps of two images
    median: tuple[int, int]  # as `smallest`, of width and height apart
    largest: tuple[int, int]
    duplicates: tuple[tuple[str, ...], ...]  # groups of names of images with equal pixels at the model's size
    shared: int  # groups in `duplicates` with both training and held-out images
    seconds_per_epoch: float
    precision: str  # that training would use, and the reason, in words


def check(source: Path, request: TrainRequest) -> Iterator[Progress | Checked]:
    """Decode all images of `source` into the cache, look for duplicates, time training, and yield the findings last.

    Raises ImageError when there are no images to train on, ConfigError for invalid options.
    """
    device = choose_device(request.device)
    choice = choose(source, request)
    loadings = yield from read(choice)
    images = images_of(choice, loadings)
    loading = loadings[0]
    decoded = loading.decoded
    sides = decoded.sides[decoded.readable]
    yield Progress("looking for duplicates", 0, 1)
    groups = _duplicates(decoded)
    trained = np.zeros(len(loading.listing), dtype=bool)
    trained[images.choice.train.rows] = True
    yield Progress("testing the speed", 0, 1)
    speed = machine.choose(choice.model, choice.config, images.train, device)
    yield Checked(
        choice=choice,
        images=len(images.train),
        held_out=len(images.held_out) if images.held_out else 0,
        unreadable=images.unreadable,
        notes=images.notes,
        passed_over=dict(loading.listing.passed_over.counts),
        modes=dict(Counter(mode.decode() for mode in decoded.modes[decoded.readable]).most_common()),
        smallest=_shape(sides.min(axis=0)),
        median=_shape(np.median(sides, axis=0)),
        largest=_shape(sides.max(axis=0)),
        duplicates=tuple(tuple(map(loading.listing.name, group)) for group in groups),
        shared=sum(len(set(trained[group])) == 2 for group in groups),
        seconds_per_epoch=speed.seconds_per_image * len(images.train),
        precision=speed.describe(),
    )


def _shape(sides: np.ndarray) -> tuple[int, int]:
    return int(sides[0]), int(sides[1])


def _duplicates(decoded: Decoded) -> list[np.ndarray]:
    """Groups of two or more images with the same pixels, each as an array of row numbers in ascending order."""
    rows = np.flatnonzero(decoded.readable)
    digests = b"".join(hashlib.blake2b(decoded.pixels[row], digest_size=8).digest() for row in rows)
    _, group, counts = np.unique(np.frombuffer(digests, dtype=np.uint64), return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(rows[order], np.cumsum(counts)[:-1])
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))
