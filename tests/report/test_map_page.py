"""The page of a map in a real browser; skipped where Chromium or Playwright is missing."""

from pathlib import Path

import numpy as np
import pytest

from latentcli.report import map_page
from tests.conftest import draw

NAMES = [f"cats/{number}.png" for number in range(20)] + [f"dogs/{number}.png" for number in range(20)]
KINDS = ["cats"] * 20 + ["<b>dogs</b>"] * 20
WINDOWS = {"wide": (1280, 800), "phone": (390, 844)}
CENTRE = """i => {
  const box = map.getBoundingClientRect(), [x, y] = spot(i);
  return [box.left + x, box.top + y];
}"""
OVERLAPPING = """() => places.filter((p, i) => places.some((q, j) => j < i &&
  Math.abs(p[0] - q[0]) < 0.9 * side && Math.abs(p[1] - q[1]) < 0.9 * side * ratio)).length"""


@pytest.fixture(params=list(WINDOWS.values()), ids=list(WINDOWS))
def page(request, browser):
    """The map of 40 images, half of them at one place."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 1, (20, 2)), np.full((20, 2), 0.5)])
    pictures = [draw((16, 16), seed) for seed in range(40)]
    text = map_page.build("40 images", pictures, NAMES, KINDS, points, None)
    Path("map.html").write_text(text)
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(Path("map.html").resolve().as_uri())
    opened.wait_for_function("places.length")
    yield opened
    assert not errors
    context.close()


def test_the_header_is_beside_the_pictures_and_they_fill_the_rest(page):
    header, area = (page.locator(found).bounding_box() for found in ("header", "#map"))
    window = page.viewport_size
    assert header["y"] + header["height"] <= area["y"]
    assert (area["width"], area["y"] + area["height"]) == (window["width"], window["height"])
    for axis, long in enumerate((area["width"], area["height"])):
        assert page.evaluate(f"Math.max(...places.map(p => p[{axis}])) - Math.min(...places.map(p => p[{axis}]))") > (
            0.7 * long
        )


def test_images_do_not_overlap(page):
    assert page.evaluate(OVERLAPPING) == 0


def test_a_hovered_image_is_shown_larger_with_its_name_and_group(page):
    card = page.locator("#card")
    assert not card.is_visible()
    page.mouse.move(*page.evaluate(CENTRE, 33))
    assert card.inner_text().split() == ["dogs/13.png", "<b>dogs</b>"]
    assert card.locator("canvas").bounding_box()["width"] > 150
    page.locator("#all").hover()
    assert not card.is_visible()


def test_arrow_keys_go_from_image_to_image(page):
    name = page.locator("#card div")
    page.locator("#map").focus()
    seen, places = [], []
    for key in ["ArrowRight"] * 3:
        page.keyboard.press(key)
        seen.append(name.inner_text())
        places.append(page.evaluate(CENTRE, NAMES.index(seen[-1])))
    assert places == sorted(places)
    assert len(set(seen)) > 1


def test_a_group_can_be_hidden(page):
    page.get_by_role("button", name="dogs").click()
    page.mouse.move(*page.evaluate(CENTRE, 33))
    assert "dogs" not in page.locator("#card").inner_text()
