"""The explorer in a real browser; skipped where Chromium or Playwright is missing."""

import io
import itertools
import os
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentcli.imaging.images import fit, to_pictures
from latentcli.model.modelfile import load_model
from latentcli.model.pca import Pca
from tests import conftest
from tests.conftest import TINY, draw, draw_folder, write_model
from tests.explorer.conftest import Explorer

AXE = os.environ.get("AXE")  # axe.min.js of the npm package axe-core
PATIENCE = 30_000  # ms


@pytest.fixture
def page(browser, explorer: Explorer):
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(explorer.address)
    shows(opened, '[data-state=\'{"seed":0,"moves":{}}\']')
    yield opened
    assert not errors
    context.close()


def shows(page, attribute: str) -> None:
    page.locator(f"#picture{attribute}").wait_for(timeout=PATIENCE)


def state_of(page) -> str:
    return str(page.locator("#picture").get_attribute("data-state"))


def pixels(page) -> np.ndarray:
    with Image.open(io.BytesIO(page.locator("#view").screenshot())) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def press(page, name: str, times: int, key: str = "ArrowRight") -> None:
    page.locator(f"#v-{name}").focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_a_slider_changes_the_picture_and_undo_brings_it_back(page):
    before = pixels(page)
    page.locator("#further").check()
    press(page, "dot", 40)
    shows(page, "[data-state*='\"dot\":2']")
    moved = pixels(page)
    assert (moved != before).any()
    page.locator("#reset").click()
    shows(page, '[data-state=\'{"seed":0,"moves":{}}\']')
    page.locator("#undo").click()
    shows(page, "[data-state*='\"dot\":2']")
    page.keyboard.press("Control+z")
    assert page.locator("#redo").is_enabled()
    page.locator("#redo").click()
    shows(page, "[data-state*='\"dot\":2']")
    assert (pixels(page) == moved).all()


def test_dragging_a_slider_with_the_mouse(page):
    box = page.locator("#v-dot").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    for step in range(20):
        page.mouse.move(middle[0] + 3 * step, middle[1])
    page.mouse.up()
    page.locator("#command", has_text="--vector=dot=").wait_for()
    assert page.locator("#v-dot").get_attribute("aria-valuetext").endswith("sd)")


def test_a_slider_ends_where_the_measured_pictures_do_unless_one_goes_further(page):
    slider = page.locator("#v-pc1")
    page.locator("#v-pc1:not([max='3'])").wait_for()
    low, high = (float(slider.get_attribute(end)) for end in ("min", "max"))
    assert -3 < low <= 0 <= high < 3
    press(page, "pc1", 80)
    assert float(slider.input_value()) == high
    page.locator("#further").check()
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("-3", "3")
    page.locator("#further").uncheck()
    assert float(slider.input_value()) == high


def test_the_command_that_is_shown_writes_the_file_that_is_downloaded(run, page):
    page.locator("#further").check()
    press(page, "dot", 30)
    page.locator("#command", has_text="--vector=dot=1.5").wait_for()
    with page.expect_download() as download:
        page.locator("#download").click()
    words = shlex.split(page.locator("#command").text_content())
    assert run(*words[1:], "--output", "again.png").code == 0
    assert Path("again.png").read_bytes() == Path(download.value.path()).read_bytes()


def test_a_photo_that_is_dropped_is_edited_and_downloaded_whole(run, page):
    draw((900, 600), seed=5).save("me.png")
    content = Path("me.png").read_bytes()
    page.evaluate(
        """content => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(content)], "me.png", { type: "image/png" }));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        list(content),
    )
    shows(page, "[data-state*='photo']")
    page.locator("#further").check()
    press(page, "dot", 20)
    page.locator("#command", has_text="edit me.png --vector=dot=1").wait_for()
    with page.expect_download() as download:
        page.locator("#download").click()
    assert run(*shlex.split(page.locator("#command").text_content())[1:], "--output", "again.png").code == 0
    assert Path("again.png").read_bytes() == Path(download.value.path()).read_bytes()


def test_a_file_that_is_no_picture_is_a_message_and_the_page_lives_on(page):
    Path("text.png").write_text("no picture")
    page.set_input_files("#file", "text.png")
    page.locator("#status.bad", has_text="not a readable image").wait_for()
    press(page, "dot", 2)
    shows(page, "[data-state*='dot']")


def test_pins_compare_pad_and_walk(page):
    page.locator("#pin").click()
    press(page, "dot", 40)
    shows(page, "[data-state*='\"dot\":2']")
    page.locator("#pin").click()
    page.locator("#pins button").nth(1).wait_for()
    page.locator("#walk").focus()
    page.keyboard.press("End")
    shows(page, "[data-state*='walk']")
    page.locator("#pins button").first.click()
    shows(page, '[data-state=\'{"seed":0,"moves":{}}\']')
    page.locator("#compare").click()
    assert page.locator("#before").is_visible()
    page.locator("#pad").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    shows(page, "[data-state*='\"pc1\":0.1']")
    page.locator("#seed").fill("9")
    page.locator("#seed").press("Enter")
    shows(page, "[data-state*='\"seed\":9']")


def test_a_vector_is_made_of_two_piles(run, page):
    page.locator("#folder").click()
    page.locator("#more").click()
    page.locator("#pile button").nth(19).wait_for()
    for number in range(4):
        page.locator("#pile button").nth(number).click()
        page.locator("#pile button").nth(10 + number).dblclick()
    assert page.locator("#piles").text_content() == "4 with, 4 without"
    page.locator("#vector-name").fill("mine")
    page.locator("#fit").click()
    page.locator("#v-mine").wait_for()
    assert "mine:" in page.locator("#fitted").text_content()
    press(page, "mine", 10)
    shows(page, "[data-state*='mine']")
    assert "mine" in run("vectors", "list", "--model", "tiny").out


def test_a_server_that_is_gone_is_said(page, explorer):
    page.context.set_offline(True)
    press(page, "dot", 1)
    page.locator("#status.bad", has_text="no longer answers").wait_for()


def test_a_phone_shows_all_of_it(browser, explorer):
    context = browser.new_context(viewport={"width": 360, "height": 700}, color_scheme="dark")
    page = context.new_page()
    page.goto(explorer.address)
    shows(page, "[data-state]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


@pytest.mark.skipif(AXE is None, reason="AXE does not name axe.min.js of axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser, explorer, scheme):
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(explorer.address)
    shows(page, "[data-state]")
    page.locator("#pin").click()
    page.locator("#more").click()
    page.locator("#pile button").nth(11).wait_for()
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run()")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
    context.close()


def test_the_written_page_works_from_the_disk_without_a_network(run, browser, tiny_model):
    assert run("explore", "--static", "page.html", "--model", "tiny").code == 0
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(Path("page.html").resolve().as_uri())
    shows(page, "[data-state]")
    press(page, "pc1", 20)
    shows(page, "[data-state*='\"pc1\":1}']")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert run("apply-vector", "seed:0", "--vector", "pc1=1", "--model", "tiny", "-o", "wanted.png").code == 0
    with Image.open(download.value.path()) as found, Image.open("wanted.png") as wanted:
        difference = np.asarray(found.convert("RGB")).astype(int) - np.asarray(wanted.convert("RGB"))
    assert abs(difference).max() <= 2
    draw((60, 40), seed=5).save("me.png")
    page.set_input_files("#file", "me.png")
    shows(page, "[data-state*='photo']")
    assert all(url.startswith(("file:", "blob:", "data:", "about:")) for url in asked)
    context.close()


def colours_of_halves(dimensions: int, count: int) -> Pca:
    """Components of 16x16 pixels in colour: the brightness of the left half, and each colour of the right half."""
    components = torch.zeros(16, 16, 3, count)
    components[:, :8, :, 0] = 1
    for colour in range(3):
        components[:, 8:, colour, 1 + colour] = 1
    components = components.view(dimensions, count)
    return Pca(torch.full((dimensions,), 0.5), components / components.norm(dim=0), torch.full((count,), 100.0), 0.01)


def test_the_written_page_sees_a_photo_as_the_model_does(run, browser, tmp_path, monkeypatch):
    monkeypatch.setattr(conftest, "random_components", colours_of_halves)
    config = replace(TINY, linear=True, crop="none", background="#204060")
    model = load_model(write_model(tmp_path / "models" / "tiny", config))
    photo = Image.new("RGBA", (64, 32))
    photo.paste("red", (0, 0, 16, 32))
    photo.save("half.png")
    assert run("explore", "--static", "page.html", "--model", "tiny").code == 0
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(Path("page.html").resolve().as_uri())
    shows(page, "[data-state]")
    page.set_input_files("#file", "half.png")
    shows(page, "[data-state*='photo']")
    with page.expect_download() as download:
        page.locator("#download").click()
    with Image.open(download.value.path()) as picture:
        found = np.asarray(picture.convert("RGB")).astype(int)
    wanted = to_pictures(model.decode(model.encode(fit(photo, config)[None])))[0]
    assert abs(found - np.asarray(wanted)).mean() < 2
    context.close()


def test_the_written_page_holds_a_map_whose_images_can_be_taken(run, browser, tiny_model):
    draw_folder(Path("d"), 6)
    assert run("explore", "--static", "page.html", "--map", "d", "--model", "tiny").code == 0
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(Path("page.html").resolve().as_uri())
    shows(page, "[data-state]")
    page.locator("#map").click()
    canvas = page.frame_locator("#map-dialog iframe").locator("canvas#map")
    canvas.wait_for()
    box = canvas.bounding_box()
    for across, down in itertools.product(range(1, 20), range(1, 20)):
        page.mouse.click(box["x"] + across * box["width"] / 20, box["y"] + down * box["height"] / 20)
        if not page.locator("#map-dialog").evaluate("dialog => dialog.open"):
            break
    shows(page, "[data-state*='image']")
    context.close()
