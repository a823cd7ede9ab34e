"""Figures with their 95 % intervals, over the images that were measured."""

from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest, bootstrap


def share(chosen: np.ndarray) -> str:
    """Per cent of True among (n,) bool, with Wilson's interval."""
    interval = binomtest(int(np.sum(chosen)), len(chosen)).proportion_ci(method="wilson")
    return f"{np.mean(chosen):6.1%} ({interval.low:.1%}-{interval.high:.1%})"


def median(values: np.ndarray) -> str:
    """The median of (n,), with a bootstrap interval."""
    interval = bootstrap((values,), np.median, method="percentile", rng=0).confidence_interval
    return f"{np.median(values):.2f} ({interval.low:.2f}-{interval.high:.2f})"


def change(paired: np.ndarray, of: Callable[..., np.ndarray]) -> str:
    """The bootstrap interval of a mean or median of paired differences or ratios (n,)."""
    if np.ptp(paired) == 0:
        return f"{paired[0]:.3f}"
    interval = bootstrap((paired,), of, method="percentile", rng=0).confidence_interval
    return f"{interval.low:.3f} to {interval.high:.3f}"


def mean(values: np.ndarray) -> str:
    """The mean of (n,), with 1.96 standard errors."""
    return f"{np.mean(values):.2f} +- {1.96 * np.std(values, ddof=1) / len(values) ** 0.5:.2f}"


def mcnemar(before: np.ndarray, after: np.ndarray) -> str:
    """Gained and lost among paired (n,) bool, with the p of McNemar's exact test (1947)."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return f"+{gained} -{lost}, p {p:.3f}"
