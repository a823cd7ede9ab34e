"""Labels: which images show a concept and which do not, from folders, latents files or a perturbation."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latentcli.concepts import perturb
from latentcli.data.sources import find_images
from latentcli.errors import ConfigError, ModelMismatch
from latentcli.storage.latents import SUFFIX, Latents

SHOWS, LACKS, NEITHER = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Concept:
    """A name, and the class of each image."""

    name: str
    values: np.ndarray  # (n,) int8: SHOWS, LACKS or NEITHER
    recipe: dict[str, Any]  # origin of the labels, without absolute paths

    def check(self) -> None:
        """Raises ConfigError unless there are images of both classes."""
        positive, negative = (int((self.values == kind).sum()) for kind in (SHOWS, LACKS))
        if not positive or not negative:
            raise ConfigError(
                f"{self.name}: a vector needs images with and without the concept, got {positive} and {negative}; "
                "check the labels"
            )


@dataclass(frozen=True, slots=True)
class Labels:
    """Images by name relative to `root`, with one or more concepts."""

    root: Path
    names: tuple[str, ...]
    concepts: tuple[Concept, ...]
    cells: Mapping[str, np.ndarray] = field(default_factory=dict)  # columns to balance by: (n,) int, -1 unknown
    notes: tuple[str, ...] = ()  # images that were left out
    pairs: np.ndarray | None = None  # (n,) int: before and after share a number
    augment: str | None = None  # the change made to the first half of the names
    latents: Latents | None = None  # encoded already; by position where the names are the same, else by name

    def take(self, rows: np.ndarray) -> "Labels":
        """Some of the images, by indices or a mask."""
        names = np.arange(len(self.names))[rows]
        return replace(
            self,
            names=tuple(self.names[row] for row in names),
            concepts=tuple(replace(concept, values=concept.values[rows]) for concept in self.concepts),
            cells={column: codes[rows] for column, codes in self.cells.items()},
            pairs=None if self.pairs is None else self.pairs[rows],
        )


def from_folders(name: str, positive: Path, negative: Path, paired: bool = False) -> Labels:
    """Images below `positive` show the concept, those below `negative` do not; both may be latents files.

    Names are relative to the innermost folder that holds both, so that the held-out split is the one of training.
    `paired` keeps only images whose name, but for the suffix, is in both. Raises ImageError when one is empty,
    ConfigError when they overlap.
    """
    if all(path.name.endswith(SUFFIX) for path in (positive, negative)):
        parts = [Latents.load(path) for path in (positive, negative)]
        if parts[0].model_id != parts[1].model_id:
            raise ModelMismatch(f"{positive} and {negative} were made with different models; encode the images again")
        root, files = positive.parent, [positive.name, negative.name]
        names = inner = [part.names for part in parts]
        latents = Latents(np.concatenate([part.z for part in parts]), names[0] + names[1], parts[0].model_id)
    else:
        folders = [folder.resolve() for folder in (positive, negative)]
        if folders[0] in (folders[1], *folders[1].parents) or folders[1] in folders[0].parents:
            raise ConfigError(f"{positive} and {negative} overlap; give two separate folders")
        root, latents = Path(os.path.commonpath(folders)), None
        inner = [tuple(path.relative_to(folder).as_posix() for path in find_images(folder)) for folder in folders]
        files = [folder.relative_to(root).as_posix() for folder in folders]
        names = [tuple(f"{file}/{path}" for path in some) for file, some in zip(files, inner, strict=True)]
    values = np.repeat([SHOWS, LACKS], [len(some) for some in names]).astype(np.int8)
    concept = Concept(name, values, {"positive": files[0], "negative": files[1]})
    labels = Labels(root, names[0] + names[1], (concept,), latents=latents)
    return _paired(labels, inner[0], inner[1]) if paired else labels


def _paired(labels: Labels, positive: Sequence[str], negative: Sequence[str]) -> Labels:
    """Only images that have a partner of the same name."""
    found = list(pairs(positive, negative))
    if not found:
        raise ConfigError("no image of one folder has the name of one in the other; `paired` needs before and after")
    numbers = np.full(len(labels.names), -1)
    for number, (first, second) in enumerate(found):
        numbers[first] = numbers[len(positive) + second] = number
    (concept,) = labels.concepts
    values = np.where(numbers >= 0, concept.values, NEITHER).astype(np.int8)
    alone = int((numbers < 0).sum())
    notes = (f"{alone} images have no partner of the same name and were left out",) if alone else ()
    return replace(labels, concepts=(replace(concept, values=values),), pairs=numbers, notes=notes)


def from_change(name: str, images: Path, change: str) -> Labels:
    """Changed images show the concept, unchanged ones do not: White 2016, section 3.4, "synthetic vectors"."""
    perturb.parse(change)
    names = tuple(path.relative_to(images).as_posix() for path in find_images(images))
    values = np.repeat([SHOWS, LACKS], len(names)).astype(np.int8)
    both = np.tile(np.arange(len(names)), 2)
    return Labels(images, names * 2, (Concept(name, values, {"augment": change}),), pairs=both, augment=change)


def from_subfolders(folder: Path) -> Labels:
    """A concept for each sub-folder, against the images of the others.

    Raises ImageError without images, ConfigError with fewer than two sub-folders of images.
    """
    names = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    classes = np.array([name.partition("/")[0] if "/" in name else "" for name in names])
    found = sorted(set(classes) - {""})
    if len(found) < 2:
        raise ConfigError(f"{folder} has {len(found)} sub-folders with images; give a folder with two or more")
    loose = int((classes == "").sum())
    concepts = tuple(one_against_rest(vector_name(one), classes, {"folder": one}, one) for one in found)
    notes = (f"{loose} images of {folder} are in no sub-folder and were left out",) if loose else ()
    return Labels(folder, tuple(names), concepts, notes=notes)


def vector_name(text: str) -> str:
    """A text as it can be a vector's name.

    >>> vector_name("hair-dark brown")
    'hair-dark-brown'
    """
    return re.sub(r"[^\w.+]+", "-", text).strip("-.+") or "vector"


def one_against_rest(name: str, classes: np.ndarray, recipe: dict[str, Any], one: str) -> Concept:
    """The concept that class `one` of the classes (n,) shows and all others do not; "" is neither."""
    values = np.where(classes == one, SHOWS, np.where(classes == "", NEITHER, LACKS)).astype(np.int8)
    return Concept(name, values, recipe)


def pairs(positive: Sequence[str], negative: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Positions of the names that are in both, whatever their suffix.

    >>> list(pairs(["a.png", "b.png"], ["b.jpg", "c.jpg"]))
    [(1, 0)]
    """
    positions = {os.path.splitext(name)[0]: position for position, name in enumerate(negative)}
    for position, name in enumerate(positive):
        if (other := positions.get(os.path.splitext(name)[0])) is not None:
            yield position, other
