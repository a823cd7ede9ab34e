"""Early stop of a run on few images: the held-out loss so far, its best point, and when going on is of no use."""

from dataclasses import dataclass, replace
from typing import Self

from latentcli.storage.history import Metrics
from latentcli.training.schedule import Stage

_TURNED = 0.1  # rise of the held-out loss from its best, as a share of its range, above which the curve has turned
_LEAST = 0.005  # of the best loss: a smaller rise is no turn
_WAIT = 100  # steps after the best at least: a shorter run is not worth shortening


@dataclass(frozen=True, slots=True)
class Course:
    """Held-out loss at the measured ends of epochs, in nats per image."""

    highest: float
    best: float
    best_step: int
    last: float

    @classmethod
    def after(cls, course: Self | None, step: int, loss: float) -> Self:
        """The course with one more measurement."""
        if course is None:
            return cls(highest=loss, best=loss, best_step=step, last=loss)
        if loss < course.best:
            return cls(highest=course.highest, best=loss, best_step=step, last=loss)
        return replace(course, last=loss, highest=max(course.highest, loss))

    def is_over(self, step: int, stage: Stage, patience: float) -> bool:
        """Whether the loss has clearly risen and the best is further back than `patience`, a share of the stage.

        A loss that only stands still is no reason: it often falls again as the learning rate does.
        """
        waited = step - max(self.best_step, stage.start)
        least = _LEAST * abs(self.best)
        has_turned = self.last - self.best > max(least, _TURNED * (self.highest - self.best))
        return has_turned and waited >= max(_WAIT, patience * (stage.end - stage.start))


def loss(metrics: Metrics, beta: float) -> float:
    """What training makes small, on held-out images: the -ELBO for beta 1. Nats per image."""
    return metrics.reconstruction + beta * (metrics.kl or 0.0)
