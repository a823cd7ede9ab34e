"""The explorer in headless Chromium: from a slider's move to its picture, and from a photo to its edit.

    pip install playwright 'latentcli[explore]'; apt-get install chromium
    python benchmarks/explore.py [--model faces] [--photo examples/grace-hopper.jpg]

Times are measured in the page, from the event to the decoded picture, while a slider is dragged by the mouse. The photo
is enlarged to two megapixels first. What the static page's rounded weights change is measured on samples 0 to 63.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from latentcli.model import graphs
from latentcli.model.modelfile import load_model
from latentcli.storage import catalog

STEPS = 150
PAUSE = 0.016  # seconds between two moves of the mouse
SIZE = (1250, 1600)  # of the photo


def drag(page: Page, name: str) -> str:
    """Milliseconds, in the median and for 19 of 20 pictures."""
    box = page.locator(f"#v-{name}").bounding_box()
    assert box
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.evaluate("window.latencies.length = 0")
    for step in range(STEPS):
        page.mouse.move(middle[0] + box["width"] / 3 * np.sin(step / 15), middle[1])
        time.sleep(PAUSE)
    page.mouse.up()
    time.sleep(1)
    found = page.evaluate("window.latencies")
    return f"{len(found)} pictures, median {np.median(found):.0f} ms, 95 % within {np.percentile(found, 95):.0f} ms"


def rounding(name: str) -> float:
    """Levels of 255, root mean square, by which samples of a static page differ from the model's."""
    model = load_model(catalog.find_model(name).path)
    z = model.prior.sample(range(64))
    decoder = onnxruntime.InferenceSession(graphs.decoder(model.config, model.weights, compact=True))
    return 255 * float(np.sqrt(np.square(decoder.run(None, {"z": z})[0] - model.decode(z)).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="faces")
    parser.add_argument("--vector", default="smile")
    parser.add_argument("--photo", type=Path, default=Path("examples/grace-hopper.jpg"))
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, model {asked.model}", flush=True)
    command = [sys.executable, "-m", "latentcli", "explore", "--model", asked.model]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        photo, static = Path(folder, "photo.jpg"), Path(folder, "page.html")
        Image.open(asked.photo).convert("RGB").resize(SIZE).save(photo, quality=92)
        subprocess.run([*command, "--static", str(static)], check=True, capture_output=True)
        serving = subprocess.Popen(
            [*command, "--no-browser"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert serving.stdout
            address = re.sub(r"\s", "", serving.stdout.readline())
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.goto(address)
            page.locator("#picture[data-state]").wait_for()
            time.sleep(2)
            print(f"served, a sample: {drag(page, asked.vector)}", flush=True)
            started = time.perf_counter()
            page.set_input_files("#file", str(photo))
            page.locator("#picture[data-state*=photo]").wait_for()
            print(
                f"served, a photo of 2 megapixels: {time.perf_counter() - started:.2f} s to its first edit", flush=True
            )
            time.sleep(2)
            print(f"served, that photo: {drag(page, asked.vector)}", flush=True)
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            started = time.perf_counter()
            page.goto(static.as_uri())
            page.locator("#picture[data-state]").wait_for()
            seconds = time.perf_counter() - started
            print(
                f"static page: {static.stat().st_size / 1e6:.1f} MB, {seconds:.1f} s to its first picture", flush=True
            )
            time.sleep(1)
            print(f"static page: {drag(page, asked.vector)}", flush=True)
            print(f"static page: its samples differ from the model's by {rounding(asked.model):.2f} levels")
            browser.close()
        finally:
            serving.terminate()


if __name__ == "__main__":
    main()
