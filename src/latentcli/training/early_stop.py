"""Early stopping of training on few images: it ends once the held-out loss has been rising for long enough."""

from dataclasses import dataclass
from typing import Self

from latentcli.storage.history import Metrics
from latentcli.training.schedule import Stage

_TURNED = 0.1  # rise of the held-out loss above its minimum, as a share of maximum - minimum, that counts as rising
_LEAST = 0.005  # rise as a share of the minimum of the loss: a smaller one is noise
_WAIT = 100  # steps since the minimum of the loss before training may stop: shorter runs are not worth stopping


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Maximum, minimum and last value of the held-out loss (nats per image) over the measurements of a run so far."""

    highest: float
    best: float
    best_step: int
    last: float

    @classmethod
    def after(cls, curve: Self | None, step: int, loss: float) -> Self:
        """`curve` updated by one more held-out `loss`, measured at `step`; None stands for no earlier measurement."""
        if curve is None:
            return cls(highest=loss, best=loss, best_step=step, last=loss)
        best, best_step = min((curve.best, curve.best_step), (loss, step))
        return cls(highest=max(curve.highest, loss), best=best, best_step=best_step, last=loss)

    def is_over(self, step: int, stage: Stage, patience: float) -> bool:
        """Whether to stop: the loss has clearly risen since its minimum, at least `patience` x the stage's steps ago.

        A plateau does not stop training: the loss often falls again when the learning rate falls.
        """
        waited = step - max(self.best_step, stage.start)
        has_turned = self.last - self.best > max(_LEAST * abs(self.best), _TURNED * (self.highest - self.best))
        return has_turned and waited >= max(_WAIT, patience * (stage.end - stage.start))


def loss(metrics: Metrics, beta: float) -> float:
    """Loss that early stopping watches: reconstruction + beta * KL of held-out images, in nats per image."""
    return metrics.reconstruction + beta * (metrics.kl or 0.0)
