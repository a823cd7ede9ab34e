"""The machine that trains: its speed and precision, the threads that compute, and its memory.

Speed and precision are found by a few steps of a throw-away network. They hold for that network on this machine, so
they are kept in the user's cache folder.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import platformdirs
import torch

from latentcli import typed
from latentcli.config import ModelConfig, Precision, TrainConfig
from latentcli.data.dataset import Dataset
from latentcli.errors import LatentCLIError
from latentcli.storage.files import read_input, write_whole
from latentcli.training.schedule import Stage
from latentcli.training.step import TrainState, untrained

Result = TypeVar("Result")
_WARM, _TIMED = 1, 4  # steps
_BATCH = 32  # images: enough to compare precisions by
_AGREE = 0.05  # relative difference of squared error and KL after the timed steps that counts as equally good
_LEAST_KL = 1.0  # nats: differences are relative to at least this
_HOPELESS = 0.7  # of the speed in fp32: a network is not faster in bf16 where its products are so slow
_FASTER = 0.9  # share of the fp32 time that bf16 must stay below
_MOST_BYTES = 1 << 16  # of a kept result
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # in messages of PyTorch
_TIMED_FOR_LENGTH = 10  # steps, whose speed turns minutes into a number of steps
_VERSION = 3  # of the test: results of another version are measured again
_SLOWER = 0.95  # times the seconds of one thread that all may take before one is left
_MEDIAN_OF = 7  # steps
_LOOK_AGAIN = 20.0  # seconds on one thread before all are tried again
_TRIED = 3  # steps on all threads then
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt
_NEVER = 2**31 - 1  # bytes free at the end of the heap before they go back to the system


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed and precision of training one network on this machine."""

    precision: Precision
    seconds_per_image: float
    bf16_speed: float | None = None  # images per second in bf16 over those in fp32; None where it was not compared
    bf16_agrees: bool = True  # its squared error and KL are those of fp32

    def describe(self) -> str:
        """The precision and the reason for it, in a few words."""
        if self.bf16_speed is None:
            return self.precision
        doubt = "" if self.bf16_agrees else ", but trains differently"
        return f"{self.precision} (bf16 is {self.bf16_speed:.1f} times as fast as fp32 here{doubt})"


def choose(model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device) -> Speed:
    """Speed in the precision to train in: `config.precision`, or for "auto" the faster one that learns as well."""
    if config.precision != "auto":
        return measure(model, config, images, device)
    file = _file(model, config, device)
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return typed.read(Speed, json.loads(read_input(file, _MOST_BYTES)))
    speed = _compare(model, config, images, device)
    with contextlib.suppress(LatentCLIError):
        write_whole(file, json.dumps(asdict(speed)).encode())
    return speed


def measure(model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device) -> Speed:
    """Speed of training in `config.precision`, which is not "auto"."""
    seconds, _ = time_steps(model, config, images, device, _TIMED_FOR_LENGTH)
    return Speed(config.precision, seconds / config.batch_size)


def _compare(model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device) -> Speed:
    small = replace(config, batch_size=min(config.batch_size, _BATCH))
    full, expected = time_steps(model, replace(small, precision="fp32"), images, device, _TIMED)
    if device.type == "mps":
        return Speed("fp32", full / small.batch_size)
    product = _product_speed(device)
    if product < _HOPELESS:
        return Speed("fp32", full / small.batch_size, product)
    half, found = time_steps(model, replace(small, precision="bf16"), images, device, _TIMED)
    scales = (expected[0], max(expected[1], _LEAST_KL))
    agrees = all(abs(a - b) < _AGREE * scale for a, b, scale in zip(found, expected, scales, strict=True))
    takes_half = half < _FASTER * full and agrees
    chosen: Precision = "bf16" if takes_half else "fp32"
    return Speed(chosen, (half if takes_half else full) / small.batch_size, full / half, agrees)


def _product_speed(device: torch.device) -> float:
    """Speed of a matrix product in bf16 relative to fp32. It takes milliseconds, where training steps take seconds."""
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(256, 256, dtype=dtype, device=device)
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            float((matrix @ matrix)[0, 0])  # reading it waits for the device
            seconds.append(time.perf_counter() - started)
        best[dtype] = min(seconds)
    return best[torch.float32] / best[torch.bfloat16]


def time_steps(
    model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device, steps: int
) -> tuple[float, tuple[float, float]]:
    """Median seconds per step, and the last step's mean squared error and KL in nats per image."""
    vae = untrained(model, config.seed)
    if vae.linear:
        vae.linear.fit_by_chance()
    learner = TrainState(vae, config, Stage(0, 100), device)

    def make(step: int) -> tuple[float, float]:
        rows = torch.arange(step * config.batch_size, (step + 1) * config.batch_size) % len(images)
        elbo = learner.step(images.take(rows), step)
        return float(elbo.squared_error.detach().mean()), float(elbo.kl.detach().mean())  # waits for the device

    return time_each(make, steps)


def time_each(make: Callable[[int], Result], steps: int) -> tuple[float, Result]:
    """Median seconds of a step, and the result of the last; `make` makes a step and waits for the device."""
    seconds = []
    for step in range(_WARM + steps):
        started = time.perf_counter()
        result = make(step)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[_WARM:]), result


def _file(model: ModelConfig, config: TrainConfig, device: torch.device) -> Path:
    machine = (platform.node(), _processor(), os.cpu_count(), torch.get_num_threads(), torch.__version__, str(device))
    key = json.dumps([_VERSION, machine, model.to_json(), config.optimizer, min(config.batch_size, _BATCH)])
    return platformdirs.user_cache_path("latentcli") / "speed" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _processor() -> str:
    """Name and abilities of the processor, where the system lists them."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
    return platform.processor()


class ThreadWatch:
    """Leaves training to one thread while all threads together are slower, because another program wants a core.

    Threads wait for each other many times a step: all become as slow as the one that shares its core.
    """

    def __init__(self, one_thread: float, threads: int) -> None:
        """`one_thread` is the seconds that a step takes on one thread, `threads` the number of threads."""
        self._one_thread = one_thread
        self._threads = threads
        self._seconds: list[float] = []  # of the last steps on all threads
        self._left_at: float | None = None  # when training was left to one thread

    def stepped(self, seconds: float) -> None:
        """Note the seconds that a step took, and set the number of threads for the next one."""
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
        """Compute on all threads again."""
        torch.set_num_threads(self._threads)


def watch_threads(time_steps: Callable[[int], float], device: torch.device) -> ThreadWatch | None:
    """A watch that has timed one thread; None where there is only one, or a device does the work.

    `time_steps` makes a number of steps and returns the median seconds of one.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return None
    torch.set_num_threads(1)
    try:
        seconds = time_steps(_TRIED)
    finally:
        torch.set_num_threads(threads)
    return ThreadWatch(seconds, threads)


@contextlib.contextmanager
def computing(threads: int | None, model: ModelConfig, batch_size: int, advice: str) -> Iterator[None]:
    """Compute with a number of threads (None: as many as now), and add advice to errors of full memory."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in _NO_MEMORY):
            raise
        size = f"{model.width}x{model.height}"
        raise LatentCLIError(f"out of memory at {size} pixels and {batch_size} images a step; {advice}") from error
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Return free memory to the system now, and keep memory that is freed later: 5 to 8 % faster steps with glibc.

    It holds for the whole process, so only a program that does nothing else calls it.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        return
    library.malloc_trim(0)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
