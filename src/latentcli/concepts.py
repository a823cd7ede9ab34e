"""Concept vectors: a direction in latent space, and how far it can be trusted.

Strength 1.0 goes from the mean of the images without the concept to the mean of those with it (White 2016, "Sampling
generative networks", section 3.2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentcli import tensorfile
from latentcli.errors import ConfigError, FileFormatError
from latentcli.latents import Latents

KIND = "vector"
_MIN_HELD_OUT = 5  # held-out images of each kind below which no AUC is given
_NUMBERS = ("mean_positive", "mean_negative", "sigma", "threshold")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Latents z (n, latent_dim) with a label each: True shows the concept, False does not, None is neither."""

    z: Tensor
    values: tuple[bool | None, ...]

    def of(self, value: bool) -> Tensor:
        return self.z[[label is value for label in self.values]]

    def both(self) -> tuple[np.ndarray, np.ndarray]:
        """z and 0/1 of the labelled latents, for scikit-learn."""
        kept = [index for index, label in enumerate(self.values) if label is not None]
        return self.z[kept].numpy(), np.array([bool(self.values[index]) for index in kept], dtype=bool)


@dataclass(frozen=True, slots=True)
class ConceptVector:
    """A direction (latent_dim,) and its diagnostics. Projections are onto the unit direction, in latent units."""

    name: str
    direction: Tensor  # its length is the class gap: strength 1.0 adds it once
    model_id: str
    method: str
    positives: int  # images it was fitted on, each kind
    negatives: int
    mean_positive: float  # mean projection of each kind
    mean_negative: float
    sigma: float  # pooled within-class standard deviation of the projections
    threshold: float  # projection that divides the kinds best
    percentiles: Tensor  # (101,): of the training latents' projections
    auc: float | None  # of the projection, on held-out images; None where there are too few
    auc_lda: float | None  # of a shrinkage LDA, on the same images: what the latent space knows at all
    recipe: dict[str, Any]  # where the labels came from; relative names

    @property
    def gap_in_sigma(self) -> float:
        """How far strength 1.0 goes, in within-class standard deviations."""
        return (self.mean_positive - self.mean_negative) / self.sigma if self.sigma > 0 else math.inf

    def score(self, z: Tensor) -> Tensor:
        """Projection of latents (n, latent_dim) onto the unit direction: (n,)."""
        return z @ _unit(self.direction)

    def apply(self, latents: Latents, strength: float) -> Latents:
        """Move every latent by `strength` times the direction. Raises ModelMismatch for latents of another model."""
        latents.require_model(self.model_id, "the latents", f"the model of vector {self.name}", len(self.direction))
        return latents.with_z(latents.z + strength * self.direction)

    def save(self, path: Path) -> None:
        """Write it whole. Raises LatentCLIError when that fails."""
        header = {
            "name": self.name,
            "model_id": self.model_id,
            "method": self.method,
            "positives": self.positives,
            "negatives": self.negatives,
            "auc": self.auc,
            "auc_lda": self.auc_lda,
            "recipe": self.recipe,
            **{name: getattr(self, name) for name in _NUMBERS},
        }
        arrays = {"direction": self.direction.numpy(), "percentiles": self.percentiles.numpy()}
        tensorfile.write(path, KIND, header, arrays)

    @classmethod
    def load(cls, path: Path) -> "ConceptVector":
        """Raises FileFormatError when the file is no concept vector, or damaged."""
        header, arrays = tensorfile.read(path, KIND)
        try:
            direction = torch.from_numpy(arrays["direction"].copy()).float()
            percentiles = torch.from_numpy(arrays["percentiles"].copy()).float()
            vector = cls(
                name=str(header["name"]),
                direction=direction,
                model_id=str(header["model_id"]),
                method=str(header["method"]),
                positives=int(header["positives"]),
                negatives=int(header["negatives"]),
                percentiles=percentiles,
                auc=header["auc"],
                auc_lda=header["auc_lda"],
                recipe=dict(header["recipe"]),
                **{name: float(header[name]) for name in _NUMBERS},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} lacks a part of a concept vector ({error}); fit it again") from error
        if direction.dim() != 1 or percentiles.shape != (101,) or not bool(direction.isfinite().all()):
            raise FileFormatError(f"{path} does not hold a usable direction; fit the vector again")
        return vector


def fit(name: str, train: Labelled, held_out: Labelled, model_id: str, recipe: dict[str, Any]) -> ConceptVector:
    """The difference of the class means of `train`, measured on `held_out`.

    Raises ConfigError when a kind is missing or the means do not differ.
    """
    positive, negative = train.of(True), train.of(False)
    if not len(positive) or not len(negative):
        raise ConfigError(
            f"a vector needs images with and without the concept, got {len(positive)} and {len(negative)} readable ones"
        )
    direction = positive.mean(dim=0) - negative.mean(dim=0)
    if not float(direction.norm()) > 0:
        raise ConfigError("the images with and without the concept have the same mean latent; check the labels")
    unit = _unit(direction)
    projections = [positive @ unit, negative @ unit]
    spread = torch.cat([part - part.mean() for part in projections])
    return ConceptVector(
        name=name,
        direction=direction,
        model_id=model_id,
        method="mean difference",
        positives=len(positive),
        negatives=len(negative),
        mean_positive=float(projections[0].mean()),
        mean_negative=float(projections[1].mean()),
        sigma=float(spread.square().sum().div(max(1, len(spread) - 2)).sqrt()),
        threshold=_best_threshold(train, unit),
        percentiles=torch.from_numpy(np.percentile((train.z @ unit).numpy(), np.arange(101))).float(),
        auc=_auc(held_out, lambda z: z @ unit.numpy()),
        auc_lda=_auc(held_out, _lda(train)),
        recipe=recipe,
    )


def add(z: Tensor, vectors: Sequence[tuple[ConceptVector, float]]) -> Tensor:
    """z (n, latent_dim) moved along several vectors, each with its strength."""
    for vector, strength in vectors:
        z = z + strength * vector.direction.to(z.device)
    return z


def _unit(direction: Tensor) -> Tensor:
    return torch.nn.functional.normalize(direction, dim=0)


def _best_threshold(train: Labelled, unit: Tensor) -> float:
    """The projection with the largest sum of true positive and true negative rates, by an exact scan."""
    from sklearn.metrics import roc_curve

    z, labels = train.both()
    false_rate, true_rate, thresholds = roc_curve(labels, z @ unit.numpy(), drop_intermediate=False)
    return float(thresholds[1:][np.argmax((true_rate - false_rate)[1:])])


def _lda(train: Labelled) -> Any:
    """The decision function of a linear discriminant with Ledoit-Wolf shrinkage; None with too few images."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    z, labels = train.both()
    if min(labels.sum(), (~labels).sum()) < 2:
        return None
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(z, labels).decision_function


def _auc(held_out: Labelled, score: Any) -> float | None:
    """Area under the ROC curve of a score of latents; None with too few held-out images of a kind."""
    from sklearn.metrics import roc_auc_score

    z, labels = held_out.both()
    if score is None or min(labels.sum(), (~labels).sum()) < _MIN_HELD_OUT:
        return None
    return float(roc_auc_score(labels, score(z)))
