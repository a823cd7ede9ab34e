"""Adaptation of training to the machine: its speed, the better precision, the number of threads, and memory.

A few steps of a throw-away network measure speed and precision. The results for each network are kept in the user's
cache folder, unless another program disturbed them, and are replaced when a training goes much faster or slower.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
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
_WARM, _TIMED = 1, 6  # steps before the clock starts, and timed steps to compare precisions by
# Share of the time of all threads that a measurement gets on a quiet machine: two cores, .91 to 1 there, and .61 to .73
# beside a program that takes one of them.
_UNDISTURBED = 0.8
CONFIRMED_AFTER = 60.0  # seconds of training that confirm a kept speed
_OFF = 0.25  # relative difference from a kept speed above which it is replaced
_BATCH = 32  # images per step at most, to compare precisions by
_AGREE = 0.05  # relative difference of squared error and KL after the timed steps, below which bf16 is as good
_LEAST_KL = 1.0  # nats: a difference of KL is taken relative to at least this
_HOPELESS = 0.7  # speed of a bf16 matrix product over fp32, below which bf16 is not tried in training
_FASTER = 0.9  # seconds of a bf16 step over fp32, below which bf16 is chosen
_MOST_BYTES = 1 << 16  # of a result's file in the cache: a larger one is not read
_PRODUCTS = 5  # matrix products that are timed to compare precisions by
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # in PyTorch's errors
_TIMED_FOR_LENGTH = 10  # steps that are timed to turn `minutes` into a number of steps
_VERSION = 4  # of the measurement: results kept by another version are measured again
_SLOWER = 0.95  # seconds of a step on all threads over one thread, above which one thread is used
_MEDIAN_OF = 7  # latest steps whose median time on all threads decides
_LOOK_AGAIN = 20.0  # seconds on one thread before all threads are tried again
_TRIED = 3  # steps on all threads that decide, after training was on one thread
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt
_NEVER = 2**31 - 1  # free bytes at the end of the heap, above which glibc would return memory: never reached


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured training speed of one network on this machine, and the precision to train in."""

    precision: Precision
    seconds_per_image: float
    bf16_speed: float | None = None  # images per second in bf16 over those in fp32; None where it was not compared
    bf16_agrees: bool = True  # squared error and KL after a few bf16 steps are about those of fp32

    def describe(self) -> str:
        """The precision and the reason for it in words, such as "fp32 (bf16 is 0.5 times as fast as fp32 here)"."""
        if self.bf16_speed is None:
            return self.precision
        doubt = "" if self.bf16_agrees else ", but trains differently"
        return f"{self.precision} (bf16 is {self.bf16_speed:.1f} times as fast as fp32 here{doubt})"


def choose(model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device) -> Speed:
    """Choose fp32 or bf16 if `config.precision` is "auto", and measure the speed in the precision to train in."""
    if config.precision != "auto":
        return measure(model, config, images, device)
    file = _file(model, config, device)
    if kept := _kept(file):
        return kept
    undisturbed = Undisturbed(device)
    speed = _compare(model, config, images, device)
    if undisturbed():
        _keep(speed, file)
    return speed


def _kept(file: Path) -> Speed | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return typed.read(Speed, json.loads(read_input(file, _MOST_BYTES)))
    return None


def _keep(speed: Speed, file: Path) -> None:
    with contextlib.suppress(LatentCLIError):
        write_whole(file, json.dumps(asdict(speed)).encode())


def confirm(model: ModelConfig, config: TrainConfig, device: torch.device, seconds_per_image: float) -> None:
    """Replace the speed that is kept for a network, if training in the same precision goes at a quite different one."""
    file = _file(model, config, device)
    kept = _kept(file)
    if kept is None or kept.precision != config.precision:
        return
    if abs(seconds_per_image - kept.seconds_per_image) > _OFF * kept.seconds_per_image:
        _keep(replace(kept, seconds_per_image=seconds_per_image), file)


class Undisturbed:
    """Whether no other program has used this one's cores since this was made: called, it says so.

    Threads of PyTorch wait for each other by counting, so on a quiet machine all of them are busy all the time.
    """

    def __init__(self, device: torch.device) -> None:
        self._threads = torch.get_num_threads() if device.type == "cpu" else 0
        self._began = time.perf_counter(), time.process_time()

    def __call__(self) -> bool:
        elapsed, own = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        return own >= _UNDISTURBED * self._threads * elapsed


def measure(model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device) -> Speed:
    """Measure the training speed in `config.precision`, which must not be "auto"."""
    seconds, _ = time_steps(model, config, images, device, _TIMED_FOR_LENGTH)
    return Speed(config.precision, seconds / config.batch_size)


def _compare(model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device) -> Speed:
    small = replace(config, batch_size=min(config.batch_size, _BATCH), precision="fp32")
    product = None if device.type == "mps" else _product_speed(device)
    if product is None or product < _HOPELESS:
        return Speed("fp32", time_steps(model, small, images, device, _TIMED)[0] / small.batch_size, product)
    both = (small, replace(small, precision="bf16"))
    (full, expected), (half, found) = time_in_turn([_steps(model, own, images, device) for own in both], _TIMED)
    scales = (expected[0], max(expected[1], _LEAST_KL))
    agrees = all(abs(a - b) < _AGREE * scale for a, b, scale in zip(found, expected, scales, strict=True))
    takes_half = half < _FASTER * full and agrees
    chosen: Precision = "bf16" if takes_half else "fp32"
    return Speed(chosen, (half if takes_half else full) / small.batch_size, full / half, agrees)


def _product_speed(device: torch.device) -> float:
    """Ratio of speeds of a matrix product, bf16 over fp32, above 1 if bf16 is faster; takes a few milliseconds."""

    def of(dtype: torch.dtype) -> Callable[[int], float]:
        matrix = torch.ones(256, 256, dtype=dtype, device=device)
        return lambda step: float((matrix @ matrix)[0, 0])  # reading it waits for the device

    (full, _), (half, _) = time_in_turn([of(torch.float32), of(torch.bfloat16)], _PRODUCTS)
    return full / half


def time_steps(
    model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device, steps: int
) -> tuple[float, tuple[float, float]]:
    """Median seconds of a step of a throw-away VAE, and (squared error, KL) per image of the last batch."""
    return time_in_turn([_steps(model, config, images, device)], steps)[0]


def _steps(
    model: ModelConfig, config: TrainConfig, images: Dataset, device: torch.device
) -> Callable[[int], tuple[float, float]]:
    """Function that makes a step of a throw-away VAE, and returns (squared error, KL) per image of its batch."""
    vae = untrained(model, config.seed)
    if vae.linear:
        vae.linear.fit_by_chance()
    learner = TrainState(vae, config, Stage(0, 100), device)

    def make(step: int) -> tuple[float, float]:
        rows = torch.arange(step * config.batch_size, (step + 1) * config.batch_size) % len(images)
        elbo = learner.step(images.take(rows), step)
        return float(elbo.squared_error.detach().mean()), float(elbo.kl.detach().mean())  # waits for the device

    return make


def time_in_turn(makers: Sequence[Callable[[int], Result]], steps: int) -> list[tuple[float, Result]]:
    """For each maker, the median seconds of a call `make(step)`, which must wait for the device, and the last result.

    They take turns, so that a busy moment slows all of them.
    """
    seconds = np.zeros((_WARM + steps, len(makers)))
    results: list[Result] = []
    for step in range(_WARM + steps):
        results = []
        for number, make in enumerate(makers):
            started = time.perf_counter()
            results.append(make(step))
            seconds[step, number] = time.perf_counter() - started
    return list(zip(np.median(seconds[_WARM:], axis=0).tolist(), results, strict=True))


def _file(model: ModelConfig, config: TrainConfig, device: torch.device) -> Path:
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    machine = (platform.node(), _processor(), os.cpu_count(), torch.get_num_threads(), torch.__version__, gpu)
    key = json.dumps([_VERSION, machine, model.to_json(), config.optimizer, min(config.batch_size, _BATCH)])
    return platformdirs.user_cache_path("latentcli") / "speed" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _processor() -> str:
    """Model name and instruction-set flags of the processor on Linux, elsewhere `platform.processor()`."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
    return platform.processor()


class ThreadWatch:
    """Switches training to one thread while all threads are slower, as happens when another program uses a core.

    Threads wait for each other many times a step, so one thread on a shared core slows all of them down.
    """

    def __init__(self, one_thread: float, threads: int) -> None:
        """`one_thread` is the measured seconds of a step on one thread, `threads` the number of all threads."""
        self._one_thread = one_thread
        self._threads = threads
        self._seconds: list[float] = []  # of the latest steps on all threads, _MEDIAN_OF at most
        self._left_at: float | None = None  # time of the latest switch to one thread

    def stepped(self, seconds: float) -> None:
        """Record the seconds of the step just made, and set the number of threads for the next step."""
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
        """Set the number of threads back to all, after the last step."""
        torch.set_num_threads(self._threads)


def watch_threads(time_steps: Callable[[int], float], device: torch.device) -> ThreadWatch | None:
    """A `ThreadWatch`, after timing steps on one thread; None on a GPU or with only one thread.

    `time_steps(n)` makes n steps and returns the median seconds of a step.
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
    """Context with `threads` PyTorch threads (None: as is). Raises LatentCLIError with `advice` if memory is full."""
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
    """Make glibc return free memory now, and keep memory freed later, for 5 to 8 % faster steps; elsewhere do nothing.

    The setting holds for the whole process, so a library must not call this function.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        return
    library.malloc_trim(0)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
