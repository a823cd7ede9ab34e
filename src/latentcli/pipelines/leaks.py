"""What else edits by a concept vector change: images are edited, decoded, encoded again, and judged."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentcli.concepts import fitting, vector
from latentcli.concepts.fitting import Examples, Recipe
from latentcli.concepts.geometry import Geometry
from latentcli.concepts.trust import Shift
from latentcli.concepts.vector import ConceptVector
from latentcli.errors import ConfigError
from latentcli.labels import LACKS, NEITHER, SHOWS, Concept, Labels
from latentcli.model.modelfile import LoadedModel
from latentcli.pipelines.encoding import decode_latents, encode_tensor

_EDITED = 200  # images that leaks are measured on
_FEWEST_JUDGED = 20  # images of each kind that a discriminant is fitted on
_FEWEST_EDITED = 20  # held-out ones, else others are edited, too


@dataclass(frozen=True, slots=True)
class Work:
    """One concept: what it is fitted to, and what came out."""

    concept: Concept
    examples: Examples
    how: Recipe
    vector: ConceptVector


def judges(work: Work, labels: Labels, z: Tensor, rows: np.ndarray, held: np.ndarray) -> dict[str, np.ndarray]:
    """Discriminants of everything else that the labels tell, fitted within the cells of the concept that is judged.

    Otherwise a smile would count as a sign of whom it goes along with. Of a column to balance by it is the highest
    class against the lowest.
    """
    own = work.concept.values[rows]
    known = {concept.name: concept.values[rows] for concept in labels.concepts}
    for column, codes in labels.cells.items():
        ends = codes.max(), codes[codes >= 0].min()
        known[column] = np.select([codes[rows] == end for end in ends], [SHOWS, LACKS], NEITHER)
    found = {}
    for name, values in known.items():
        chosen = (values != NEITHER) & (own != NEITHER) & ~held
        shows = values[chosen] == SHOWS
        if name != work.concept.name and min(shows.sum(), (~shows).sum()) >= _FEWEST_JUDGED:
            cells = {work.concept.name: own[chosen].astype(np.int64)}
            with contextlib.suppress(ConfigError):  # the same concept under another name
                found[name] = vector.probe(Examples(z[torch.from_numpy(chosen)].double().numpy(), shows, cells))
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """Images to edit, and what the encoder makes of them once they are decoded: (n, latent_dim) each."""

    z: Tensor
    again: Tensor

    @classmethod
    def of(cls, model: LoadedModel, z: Tensor, held: np.ndarray) -> "Seen":
        """Some of the held-out images; of others where those are too few."""
        rows = np.flatnonzero(held) if held.sum() >= _FEWEST_EDITED else np.arange(len(z))
        some = z[torch.from_numpy(rows[:: -(-len(rows) // _EDITED)])]
        return cls(some, _seen_again(model, some))


def with_leaks(
    model: LoadedModel, work: Work, where: Geometry, seen: Seen, probes: Mapping[str, np.ndarray]
) -> ConceptVector:
    """Edit images by +1, decode, encode again, and see what moved; nothing where discriminants would be noise."""
    if min(work.vector.positives, work.vector.negatives) < _FEWEST_JUDGED:
        return work.vector
    names = [work.vector.name, *(name for name in probes if name != work.vector.name)]
    own_probe = {work.vector.name: work.vector.probe.double().numpy()}
    scored = torch.from_numpy(np.stack([(dict(probes) | own_probe)[name] for name in names])).float()

    def shifts(direction: Tensor) -> list[float]:
        moved = _seen_again(model, seen.z + direction) - seen.again
        return [float(shift) for shift in (moved @ scored.T).mean(dim=0)]

    after = shifts(work.vector.direction)
    before: Sequence[float | None] = [None] * len(names)
    if work.examples.cells or work.how.orthogonal_to:
        plain = Examples(work.examples.z, work.examples.shows)
        unbalanced = fitting.find(plain, Recipe(work.how.method), where).v
        before = shifts(torch.from_numpy(unbalanced).float())
    own, *leaks = (Shift(*shift) for shift in zip(names, after, before, strict=True))
    return work.vector.with_leaks(own, leaks)


def _seen_again(model: LoadedModel, z: Tensor) -> Tensor:
    """Latents (n, latent_dim) of what latents decode to."""
    return encode_tensor(model, decode_latents(model, z))
