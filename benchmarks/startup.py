"""How long `latentcli --help` takes beside a bare Typer app's `--help`.

    python benchmarks/startup.py [--runs 20]

Both run in fresh processes of this Python, in turns; the medians are compared.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time

BARE = """
import typer
app = typer.Typer()
@app.command()
def hello(name: str) -> None:
    "Say hello."
@app.command()
def bye(name: str) -> None:
    "Say goodbye."
app()
"""
SIDES = {
    "bare Typer app": [sys.executable, "-c", BARE, "--help"],
    "latentcli": [sys.executable, "-c", "from latentcli.cli.app import main; main()", "--help"],
    "latentcli edit": [sys.executable, "-c", "from latentcli.cli.app import main; main()", "edit", "--help"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(runs + 1):
        for side, command in SIDES.items():
            times[side].append(seconds(command))
    bare = statistics.median(times["bare Typer app"][1:])
    print(f"{platform.machine()}, Python {platform.python_version()}, median of {runs} runs of --help")
    for side, values in times.items():
        middle = statistics.median(values[1:])
        print(f"{side:16} {1000 * middle:6.0f} ms   {middle / bare:.2f} times the bare app")


if __name__ == "__main__":
    main()
