"""Which images show a concept and which do not, from folders; tables are read in `tables`."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentcli.data.sources import find_images
from latentcli.errors import ConfigError, ModelMismatch
from latentcli.latents import SUFFIX, Latents

SHOWS, LACKS, NEITHER = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Concept:
    """A name, and for each image whether it shows what it names."""

    name: str
    values: np.ndarray  # (n,) int8: SHOWS, LACKS or NEITHER
    recipe: dict[str, Any]  # how the labels came about, without absolute paths

    def check(self) -> None:
        """Raises ConfigError unless there are images of both kinds."""
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
    notes: tuple[str, ...] = ()  # what was left out
    pairs: np.ndarray | None = None  # (n,) int: before and after share a number
    augment: str | None = None  # the change that the first half of the names undergoes
    latents: Latents | None = None  # instead of images


def from_folders(name: str, positive: Path, negative: Path, paired: bool = False) -> Labels:
    """Images below `positive` show the concept, those below `negative` do not; both may be latents files.

    Names are relative to the deepest folder that holds both, so that the held-out split is the one of training.
    `paired` keeps only images whose name, but for the suffix, is in both. Raises ImageError when one is empty,
    ConfigError when they overlap.
    """
    if all(path.name.endswith(SUFFIX) for path in (positive, negative)):
        labels = _from_latents(name, positive, negative)
        return _paired(labels, *(Latents.load(path).names for path in (positive, negative))) if paired else labels
    folders = [folder.resolve() for folder in (positive, negative)]
    if folders[0] in (folders[1], *folders[1].parents) or folders[1] in folders[0].parents:
        raise ConfigError(f"{positive} and {negative} overlap; give two separate folders")
    root = Path(os.path.commonpath(folders))
    found = [[path.relative_to(root).as_posix() for path in find_images(folder)] for folder in folders]
    values = np.repeat([SHOWS, LACKS], [len(names) for names in found]).astype(np.int8)
    recipe = {"positive": folders[0].relative_to(root).as_posix(), "negative": folders[1].relative_to(root).as_posix()}
    labels = Labels(root, (*found[0], *found[1]), (Concept(name, values, recipe),))
    if not paired:
        return labels
    inner = [
        [os.path.relpath(root / path, folder) for path in some] for some, folder in zip(found, folders, strict=True)
    ]
    return _paired(labels, *inner)


def _from_latents(name: str, positive: Path, negative: Path) -> Labels:
    parts = [Latents.load(path) for path in (positive, negative)]
    if parts[0].model_id != parts[1].model_id:
        raise ModelMismatch(f"{positive} and {negative} were made with different models; encode the images again")
    values = np.repeat([SHOWS, LACKS], [len(part) for part in parts]).astype(np.int8)
    both = Latents(torch.cat([part.z for part in parts]), parts[0].names + parts[1].names, parts[0].model_id)
    recipe = {"positive": positive.name, "negative": negative.name}
    return Labels(positive.parent, both.names, (Concept(name, values, recipe),), latents=both)


def _paired(labels: Labels, positive: Sequence[str], negative: Sequence[str]) -> Labels:
    """Only images that have a partner of the same name."""
    found = list(pairs(positive, negative))
    if not found:
        raise ConfigError("no image of one folder has the name of one in the other; --paired needs before and after")
    numbers = np.full(len(labels.names), -1)
    for number, (first, second) in enumerate(found):
        numbers[first] = numbers[len(positive) + second] = number
    (concept,) = labels.concepts
    values = np.where(numbers >= 0, concept.values, NEITHER).astype(np.int8)
    alone = int((numbers < 0).sum())
    notes = (f"{alone} images have no partner of the same name and were left out",) if alone else ()
    return replace(labels, concepts=(replace(concept, values=values),), pairs=numbers, notes=notes)


def from_change(name: str, images: Path, change: str) -> Labels:
    """Images changed show the concept, as they were they do not: White 2016, section 3.4, "synthetic vectors"."""
    names = tuple(path.relative_to(images).as_posix() for path in find_images(images))
    values = np.repeat([SHOWS, LACKS], len(names)).astype(np.int8)
    both = np.tile(np.arange(len(names)), 2)
    return Labels(images, names * 2, (Concept(name, values, {"augment": change}),), pairs=both, augment=change)


def from_subfolders(folder: Path) -> Labels:
    """Each sub-folder is a concept, which the images of the others do not show.

    Raises ImageError without images, ConfigError when there are not two sub-folders with some.
    """
    names = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    classes = np.array([name.partition("/")[0] if "/" in name else "" for name in names])
    found = sorted(set(classes) - {""})
    if len(found) < 2:
        raise ConfigError(f"{folder} has {len(found)} sub-folders with images; each makes a concept, and it takes two")
    loose = int((classes == "").sum())
    concepts = tuple(one_against_rest(vector_name(one), classes, {"folder": one}, one) for one in found)
    notes = (f"{loose} images of {folder} lie in no sub-folder and were left out",) if loose else ()
    return Labels(folder, tuple(names), concepts, notes=notes)


def vector_name(text: str) -> str:
    """A text as it can be a vector's name.

    >>> vector_name("hair-dark brown")
    'hair-dark-brown'
    """
    return re.sub(r"[^\w.+]+", "-", text).strip("-.+") or "vector"


def one_against_rest(name: str, classes: np.ndarray, recipe: dict[str, Any], one: str | None = None) -> Concept:
    """The concept that one of the classes (n,) shows, and all others do not; "" is neither."""
    values = np.where(classes == (name if one is None else one), SHOWS, np.where(classes == "", NEITHER, LACKS)).astype(
        np.int8
    )
    return Concept(name, values, recipe)


def pairs(positive: Sequence[str], negative: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Places of the names that are in both, whatever their suffix.

    >>> list(pairs(["a.png", "b.png"], ["b.jpg", "c.jpg"]))
    [(1, 0)]
    """
    places = {os.path.splitext(name)[0]: place for place, name in enumerate(negative)}
    for place, name in enumerate(positive):
        if (other := places.get(os.path.splitext(name)[0])) is not None:
            yield place, other
