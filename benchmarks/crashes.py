"""A training killed at each of its file operations by ckpt-chaos, whose authors found other trainers wanting.

    pip install ckpt-chaos
    python benchmarks/crashes.py [--modes before,torn,term] [--points 1000] [--epochs 3]

Before each operation below the run's folder the process is killed, or the file is cut in half, or SIGTERM comes and a
kill later; then the same command resumes. A point passes when the resumed run ends with the weights of a run that was
never killed. Printed is ckpt-chaos's own table.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

OPTIONS = ["--size", "16", "--latent-dim", "4", "--precision", "fp32", "--threads", "1", "--name", "m"]
WEIGHTS = """
import sys
from pathlib import Path
from latentcli.storage import tensorfile
print(tensorfile.digest(tensorfile.read(Path(sys.argv[1], "models/m/model.safetensors"), "model")[1]))
"""


def draw(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((16, 16), Image.Resampling.NEAREST).save(folder / f"{number:02d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--modes", default="before,torn,term")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder, "data"))
        weights = Path(folder, "weights.py")
        weights.write_text(WEIGHTS)
        train = f"{sys.executable} -m latentcli train {folder}/data --epochs {arguments.epochs} {' '.join(OPTIONS)}"
        command = ["bash", "-c", f"mkdir -p {{out}} && cd {{out}} && exec {train}"]
        options = ["--modes", arguments.modes, "--max-points", str(arguments.points), "--work", f"{folder}/work"]
        options += ["--result-cmd", f"{sys.executable} {weights} {{out}}", "--step-regex", r"resuming at step (\d+)"]
        options += ["--fail-on", "HARD_FAIL,SILENT_DIVERGENCE,LOST_WORK,CONTROL_FAIL"]
        result = subprocess.run([sys.executable, "-m", "ckpt_chaos", "run", *options, "--", *command], check=False)
    sys.exit(result.returncode)


if __name__ == "__main__":
    main()
