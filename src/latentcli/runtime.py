"""Threads of this process: sessions of ONNX Runtime on the CPU, and how PyTorch's threads wait."""

import os
from pathlib import Path
from typing import Any

_SPINS = "2000"  # rounds of about a nanosecond: a few microseconds, as long as waking a thread takes


def let_threads_sleep() -> None:
    """Let PyTorch's threads sleep soon when they wait for each other; call it before PyTorch is loaded.

    By default GNU OpenMP lets them spin for milliseconds. When another program needs a core too, a spinning thread
    keeps it from the thread it waits for: training on two cores falls to half its speed on one (`benchmarks/busy.py`).
    Environment variables that are set already stay.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def open_session(graph: bytes | Path) -> Any:
    """A session of a graph, or of the file that holds one.

    The number of threads is OMP_NUM_THREADS, as with PyTorch, else that of the cores. Idle threads sleep: spinning,
    they would take the cores from the threads that read pictures.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(limit) if limit.isdecimal() else 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
