"""The page parses, shows every section, needs nothing from outside, and survives odd names."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from latentcli.report.page import Line, Remark, Remarks, Section, bars, curves
from latentcli.report.page import page as render
from latentcli.table import Table
from tests.conftest import draw_folder

SECTIONS = (
    "verdict", "metrics", "curves", "over-time", "dimensions", "traversals", "samples", "neighbours", "settings",
)  # fmt: skip
_ALONE = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.loaded, self.images, self.tags = [], set(), [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.ids |= {found["id"]} if "id" in found else set()
        self.loaded += [found[name] for name in ("src", "href") if name in found]
        if tag == "img":
            self.images.append(found)
        if tag not in _ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def trained(run, tmp_path):
    draw_folder(tmp_path / "d", 40)
    outcome = run(
        "train", "d", "--name", "m", "--size", "16", "--latent-dim", "8", "--epochs", "3", "--held-out", "0.3"
    )
    assert outcome.code == 0
    return Path("models/m")


def test_training_leaves_a_page_with_every_section(trained):
    page = Page((trained / "report.html").read_text())
    assert set(SECTIONS) <= page.ids
    assert all(link.startswith(("#", "data:image/webp;base64,")) for link in page.loaded)
    assert "script" not in page.tags
    shown = {image["alt"].split(",")[0]: image for image in page.images}
    pairs = shown["Samples in the first row"]
    assert int(pairs["width"]) / int(pairs["height"]) == pytest.approx(4, rel=0.1)  # eight pairs
    assert all(image["alt"] and image["width"] and image["height"] for image in page.images)


def test_the_page_is_written_anew_with_the_vectors(run, trained, tmp_path):
    draw_folder(tmp_path / "with", 12, dot=True)
    draw_folder(tmp_path / "without", 12)
    run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", "--model", "m")
    outcome = run("report", "m", "--force")
    assert (outcome.code, outcome.paths) == (0, ["models/m/report.html"])
    page = Page((trained / "report.html").read_text())
    assert "vectors" in page.ids
    assert ">dot<" in (trained / "report.html").read_text()


def test_no_page_is_replaced_unless_that_is_asked_for(run, trained):
    page = trained / "report.html"
    page.write_text("mine")
    outcome = run("report", "--model", "m")
    assert outcome.code == 1
    assert "add --force to replace it" in outcome.err
    assert page.read_text() == "mine"
    assert run("report", "--model", "m", "--force").code == 0
    Path("elsewhere.html").write_text("theirs")
    page.unlink()
    page.symlink_to(Path("elsewhere.html").absolute())
    assert run("report", "--model", "m").code == 1
    assert Path("elsewhere.html").read_text() == "theirs"


def test_the_model_may_be_named_without_its_option_but_not_twice(run, trained):
    assert run("report", "m", "--force").code == 0
    assert run("report", "m", "--model", "m").code == 2


def test_a_page_that_is_named_is_not_replaced(run, trained):
    Path("page.html").write_text("mine")
    outcome = run("report", "m", "--output", "page.html")
    assert outcome.code == 1
    assert Path("page.html").read_text() == "mine"
    assert run("report", "m", "--output", "page.txt").code == 1


def test_the_bundled_model_s_page_goes_into_the_current_folder(run):
    assert run("report", "faces").paths == ["faces-report.html"]
    page = Page(Path("faces-report.html").read_text())
    assert {"verdict", "traversals", "samples", "vectors", "settings"} <= page.ids
    assert "metrics" not in page.ids


def test_an_evaluation_of_another_model_is_not_shown(run, trained):
    assert "metrics" in Page((trained / "report.html").read_text()).ids
    run("train", "d", "--name", "other", "--size", "16", "--latent-dim", "4", "--epochs", "1")
    (trained / "evaluation.safetensors").write_bytes(Path("models/other/evaluation.safetensors").read_bytes())
    run("report", "m", "--force")
    assert "metrics" not in Page((trained / "report.html").read_text()).ids


def test_the_page_of_an_autoencoder_draws_no_elbo(run, tmp_path):
    draw_folder(tmp_path / "d", 20)
    run("train", "d", "--name", "a", "--size", "16", "--epochs", "3", "--beta", "0", "--held-out", "0.3")
    text = Path("models/a/report.html").read_text()
    assert "PSNR of reconstructions" in text
    assert "KL per image" not in text


def test_names_are_text_and_never_markup():
    table = Table("<b>", ("<b>",), [("<b>",)])
    remarks = Remarks([Remark("note", "<b>", "<b>", "<b>")])
    chart = curves([Line("<b>", (0, 1), (0, 1))], "<b>", "<b>", "nats")
    text = render("<b>", "<b>", [Section("one", "<b>", ["<b>", table, remarks, *chart])])
    assert "b" not in Page(text).tags
    assert text.count("&lt;b&gt;") == 17


def test_there_is_no_chart_without_a_curve():
    assert curves([Line("one", [1], [2.0])], "t", "x", "nats") == []
    assert bars([], "t", "x", "nats") == []


def test_a_chart_says_in_words_what_it_shows():
    chart = curves([Line("a", [0, 1], [3.0, 1.0])], "loss", "epoch", "nats")
    assert 'aria-label="loss: a from 3 to 1 nats"' in render("t", "", [Section("one", "One", chart)])
