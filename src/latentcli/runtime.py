"""CPU threads of this process: sessions of ONNX Runtime, and the waiting of PyTorch's threads."""

import os
from pathlib import Path
from typing import Any

_SPINS = "2000"  # rounds of a spin loop, a few microseconds in all: as long as waking a thread takes


def let_threads_sleep() -> None:
    """Make waiting threads of PyTorch sleep after microseconds of spinning; call this before PyTorch is loaded.

    By default GNU OpenMP lets waiting threads spin for milliseconds. When another program needs a core too, a spinning
    thread keeps its core from the thread that it waits for: training on two cores falls to half the speed of training
    on one (`benchmarks/busy.py`). Environment variables that are set already keep their values.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def open_session(graph: bytes | Path) -> Any:
    """ONNX Runtime session on the CPU for an ONNX graph, given as bytes or as the path of a file.

    The number of threads is OMP_NUM_THREADS, as with PyTorch, else the number of cores. Idle threads sleep, because
    spinning threads would take the cores from the threads that read pictures.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(limit) if limit.isdecimal() else 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
