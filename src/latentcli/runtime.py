"""ONNX Runtime: sessions of a graph on the CPU."""

import os
from pathlib import Path
from typing import Any


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
