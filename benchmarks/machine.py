"""The machine that a benchmark runs on."""

import os
import re
from pathlib import Path


def machine() -> str:
    """Number of cores, and the processor's name on Linux."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    return f"{os.cpu_count()} cores of {name[1] if name else 'an unknown processor'}"
