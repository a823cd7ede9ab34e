"""Check of a source: the images that training would read, without training."""

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
    """Result of a check."""

    choice: Choice
    images: int  # readable, to train on
    held_out: int  # readable, to measure on
    unreadable: tuple[str, ...]  # messages, each with its path
    notes: tuple[str, ...]
    passed_over: dict[str, int]  # what, how many
    modes: dict[str, int]  # Pillow's name, how many
    smallest: tuple[int, int]  # width and height in pixels
    median: tuple[int, int]
    largest: tuple[int, int]
    duplicates: tuple[tuple[str, ...], ...]  # names of images with the same pixels at the model's size
    shared: int  # groups of duplicates with images on both sides, training and held-out
    seconds_per_epoch: float
    precision: str  # and why


def check(source: Path, request: TrainRequest) -> Iterator[Progress | Checked]:
    """Decode every image once, into the cache where training finds them, and compare them.

    Raises ImageError when there is nothing to train on, ConfigError for values that cannot work.
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
    trained[choice.train.rows] = True
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
    """Groups of rows whose images have the same pixels; rows ascend within each."""
    rows = np.flatnonzero(decoded.readable)
    digests = b"".join(hashlib.blake2b(decoded.pixels[row], digest_size=8).digest() for row in rows)
    _, group, counts = np.unique(np.frombuffer(digests, dtype=np.uint64), return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(rows[order], np.cumsum(counts)[:-1])
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))
