"""Threads that a training computes with, while another program may want a core."""

import statistics
import time
from collections.abc import Callable

import torch

_SLOWER = 0.95  # times the seconds of one thread that all may take before one is left
_MEDIAN_OF = 7  # steps
_LOOK_AGAIN = 20.0  # seconds on one thread before all are tried again
_TRIED = 3  # steps on all threads then


class ThreadWatch:
    """Leaves training to one thread while all of them are slower: another program wants a core.

    Threads wait for each other many times a step, so that all become as slow as the one that shares its core.
    """

    def __init__(self, one_thread: float, threads: int) -> None:
        """`one_thread` is the seconds a step takes on one thread, `threads` how many there are."""
        self._one_thread = one_thread
        self._threads = threads
        self._seconds: list[float] = []  # of the last steps on all threads
        self._left_at: float | None = None  # when training was left to one thread

    def stepped(self, seconds: float) -> None:
        """To be called after each step with the seconds it took; sets the threads of the next."""
        if torch.get_num_threads() == 1 < self._threads:
            if self._left_at is None or time.monotonic() - self._left_at > _LOOK_AGAIN:
                self._seconds = []
                torch.set_num_threads(self._threads)
            else:
                self._one_thread = 0.9 * self._one_thread + 0.1 * seconds
            return
        tried = _MEDIAN_OF if self._left_at is None else _TRIED
        self._seconds = [*self._seconds[1 - _MEDIAN_OF :], seconds]
        if len(self._seconds) >= tried and statistics.median(self._seconds) > _SLOWER * self._one_thread:
            self._left_at = time.monotonic()
            torch.set_num_threads(1)

    def stop(self) -> None:
        """Compute on all threads again: what follows the training waits less often."""
        torch.set_num_threads(self._threads)


def watch_threads(time_step: Callable[[int], float], device: torch.device) -> ThreadWatch | None:
    """A watch that knows how fast one thread is; None where there is one thread, or a device does the work.

    `time_step` makes so many steps and gives the seconds of one.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return None
    torch.set_num_threads(1)
    try:
        seconds = time_step(_TRIED)
    finally:
        torch.set_num_threads(threads)
    return ThreadWatch(seconds, threads)
