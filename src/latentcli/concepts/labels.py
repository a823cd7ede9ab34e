"""Labels: which images show a concept and which do not, from folders, latents files or a perturbation."""

import os
import re
from collections.abc import Mapping
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
    pairs: np.ndarray | None = None  # (n,) int: before and after share a number; -1 without a partner
    augment: str | None = None  # the change that is made to the first half of the images
    latents: Latents | None = (
        None  # of images that are encoded already; found by position if the names agree, else by name
    )

    def take(self, rows: np.ndarray) -> "Labels":
        """The images at these indices, or where this mask is true."""
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
    ConfigError when they overlap or have no pair.
    """
    latents = None
    if all(path.name.endswith(SUFFIX) for path in (positive, negative)):
        both = [Latents.load(path) for path in (positive, negative)]
        if both[0].model_id != both[1].model_id:
            raise ModelMismatch(f"{positive} and {negative} were made with different models; encode the images again")
        root, sources = positive.parent, [positive.name, negative.name]
        names = inner = [each.names for each in both]
        latents = Latents(np.concatenate([each.z for each in both]), names[0] + names[1], both[0].model_id)
    else:
        folders = [folder.resolve() for folder in (positive, negative)]
        if folders[0] in (folders[1], *folders[1].parents) or folders[1] in folders[0].parents:
            raise ConfigError(f"{positive} and {negative} overlap; give two separate folders")
        root = Path(os.path.commonpath(folders))
        inner = [tuple(path.relative_to(folder).as_posix() for path in find_images(folder)) for folder in folders]
        sources = [folder.relative_to(root).as_posix() for folder in folders]
        names = [tuple(f"{source}/{path}" for path in paths) for source, paths in zip(sources, inner, strict=True)]
    values = np.repeat([SHOWS, LACKS], [len(names[0]), len(names[1])]).astype(np.int8)
    recipe = {"positive": sources[0], "negative": sources[1]}
    labels = Labels(root, names[0] + names[1], (Concept(name, values, recipe),), latents=latents)
    if not paired:
        return labels
    stems = [os.path.splitext(path)[0] for path in (*inner[0], *inner[1])]
    partners = {stem: row for row, stem in enumerate(stems) if row >= len(inner[0])}
    pairs = [(row, partners[stem]) for row, stem in enumerate(stems[: len(inner[0])]) if stem in partners]
    numbers = np.full(len(values), -1)
    for number, rows in enumerate(pairs):
        numbers[list(rows)] = number
    if not pairs:
        raise ConfigError("no image of one folder has the name of one in the other; `paired` needs before and after")
    alone = int((numbers < 0).sum())
    notes = (f"{alone} images have no partner of the same name and were left out",) if alone else ()
    concept = Concept(name, np.where(numbers >= 0, values, NEITHER).astype(np.int8), recipe)
    return replace(labels, concepts=(concept,), pairs=numbers, notes=notes)


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
    folders = sorted(set(classes) - {""})
    if len(folders) < 2:
        raise ConfigError(f"{folder} has {len(folders)} sub-folders with images; give a folder with two or more")
    concepts = tuple(one_against_rest(vector_name(name), classes, {"folder": name}, name) for name in folders)
    loose = int((classes == "").sum())
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
