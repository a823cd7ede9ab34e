"""Early stop of a run on few images: when the held-out loss has risen for so long that more steps are of no use."""

from dataclasses import dataclass
from typing import Self

from latentcli.storage.history import Metrics
from latentcli.training.schedule import Stage

_TURNED = 0.1  # rise of the held-out loss from its best, as a share of its range, above which the curve has turned
_LEAST = 0.005  # of the best loss: a smaller rise is no turn
_WAIT = 100  # steps after the best at least: a shorter run is not worth shortening


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Held-out loss at the measured ends of epochs, in nats per image."""

    highest: float
    best: float
    best_step: int
    last: float

    @classmethod
    def after(cls, curve: Self | None, step: int, loss: float) -> Self:
        """The curve with one more measurement; None is one without any."""
        if curve is None:
            return cls(highest=loss, best=loss, best_step=step, last=loss)
        best, best_step = min((curve.best, curve.best_step), (loss, step))
        return cls(highest=max(curve.highest, loss), best=best, best_step=best_step, last=loss)

    def is_over(self, step: int, stage: Stage, patience: float) -> bool:
        """Whether the loss has clearly risen and the best is further back than `patience`, a share of the stage.

        A loss that only stands still is no reason: it often falls again as the learning rate does.
        """
        waited = step - max(self.best_step, stage.start)
        has_turned = self.last - self.best > max(_LEAST * abs(self.best), _TURNED * (self.highest - self.best))
        return has_turned and waited >= max(_WAIT, patience * (stage.end - stage.start))


def loss(metrics: Metrics, beta: float) -> float:
    """Held-out loss, reconstruction + beta * KL, in nats per image."""
    return metrics.reconstruction + beta * (metrics.kl or 0.0)
