"""Sessions of ONNX Runtime on the CPU, and how PyTorch's threads wait."""

import os
from pathlib import Path
from typing import Any

_SPINS = "2000"  # rounds of about a nanosecond: a few microseconds, as long as waking a thread takes


def let_threads_sleep() -> None:
    """Let PyTorch's threads sleep soon when they wait for each other; to be called before PyTorch is loaded.

    GNU OpenMP lets them spin instead, for milliseconds, which keeps a core from the very thread that is waited for
    when another program wants one, too: training on two cores then falls to half of its speed on one
    (`benchmarks/busy.py`). Values that are set already stay.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def open_session(graph: bytes | Path) -> Any:
    """A session of a graph, or of the file that holds one.

    It has as many threads as OMP_NUM_THREADS says, as with PyTorch, else as there are cores. Idle threads sleep: they
    would take the cores from those that read pictures.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(limit) if limit.isdecimal() else 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
