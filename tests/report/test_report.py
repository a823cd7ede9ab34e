"""The page parses, shows every section, needs nothing from outside, and survives odd names."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from latentcli.evaluation.result import samples_table
from latentcli.figures.table import Table
from latentcli.report.page import Line, Remark, Section, bars, curves, histogram
from latentcli.report.page import page as render
from tests.conftest import draw_folder
from tests.evaluation.test_diagnosis import GOOD

SECTIONS = [
    "verdict", "samples", "reconstructions", "pictures", "traversals", "neighbours", "over-time", "figures", "metrics",
    "curves", "dimensions", "settings",
]  # fmt: skip
_ALONE = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.images: list[dict[str, str]] = []
        self.tags: set[str] = set()
        self.folded: set[str] = set()  # ids inside a folded part
        self.text: dict[str, str] = {}  # by the id it stands in
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.folded |= {found["id"]} if "id" in found and "details" in self.open else set()
        self.loaded += [found[name] for name in ("src", "href") if name in found]
        if tag == "img":
            self.images.append(found)
        if tag not in _ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.ids:
            self.text[self.ids[-1]] = self.text.get(self.ids[-1], "") + data

    @property
    def sections(self):
        return [found for found in self.ids if not found.endswith("-title")]


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
    assert page.sections == SECTIONS
    assert page.folded == {found for found in SECTIONS[3:] if found not in ("pictures", "figures")}
    assert all(link.startswith(("#", "data:image/webp;base64,")) for link in page.loaded)
    assert "script" not in page.tags
    shown = {image["alt"].split(",")[0]: image for image in page.images}
    pairs = shown["Samples in the first row"]
    assert int(pairs["width"]) / int(pairs["height"]) == pytest.approx(4, rel=0.1)  # eight pairs
    assert all(image["alt"] and image["width"] and image["height"] for image in page.images)


def test_few_held_out_images_give_a_sentence_in_place_of_statistics_of_samples(run, trained):
    sentence = "Samples are compared with held-out images from 100 of them on; there are "
    for text in ((trained / "report.html").read_text(), run("evaluate", "d", "--model", "m").out):
        assert sentence in text
        assert "recall" not in text
        assert "Fréchet" not in text
    table = samples_table(replace(GOOD, held_out=replace(GOOD.held_out, images=100)))
    assert isinstance(table, Table)
    assert "recall" in table.columns


def test_settings_leave_out_what_is_not_set_and_name_the_rest_in_words(trained):
    settings = Page((trained / "report.html").read_text()).text["settings"]
    assert "latent dimensions" in settings
    assert "seed" in settings
    for raw in ("None", "hidden", "planned", "True", "False", "[", "latent dim\n"):
        assert raw not in settings


def test_the_page_is_written_anew_with_the_vectors(run, trained, tmp_path):
    draw_folder(tmp_path / "with", 12, dot=True)
    draw_folder(tmp_path / "without", 12)
    run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", "--model", "m")
    outcome = run("report", "--model", "m", "--force")
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


def test_a_page_that_is_named_is_not_replaced(run, trained):
    Path("page.html").write_text("mine")
    outcome = run("report", "--model", "m", "--output", "page.html")
    assert outcome.code == 1
    assert Path("page.html").read_text() == "mine"
    assert run("report", "--model", "m", "--output", "page.txt").code == 1


def test_the_bundled_model_s_page_goes_into_the_current_folder(run):
    assert run("report", "--model", "faces").paths == ["faces-report.html"]
    page = Page(Path("faces-report.html").read_text())
    assert {"verdict", "traversals", "samples", "vectors", "metrics", "settings"} <= set(page.ids)


def test_an_evaluation_of_another_model_is_not_shown(run, trained):
    assert "metrics" in Page((trained / "report.html").read_text()).ids
    run("train", "d", "--name", "other", "--size", "16", "--latent-dim", "4", "--epochs", "1")
    (trained / "evaluation.safetensors").write_bytes(Path("models/other/evaluation.safetensors").read_bytes())
    run("report", "--model", "m", "--force")
    assert "metrics" not in Page((trained / "report.html").read_text()).ids


def test_the_page_of_an_autoencoder_draws_no_elbo(run, tmp_path):
    draw_folder(tmp_path / "d", 20)
    run("train", "d", "--name", "a", "--size", "16", "--epochs", "3", "--beta", "0", "--held-out", "0.3")
    text = Path("models/a/report.html").read_text()
    assert "PSNR of reconstructions" in text
    assert "KL per image" not in text


def test_names_are_text_and_never_markup():
    table = Table("<b>", ("<b>",), [("<b>",)])
    remarks = [Remark("note", "<b>", "<b>", "<b>")]
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


def test_a_histogram_draws_bars_of_each_kind():
    (chart,) = histogram([("with", [1.0, 2.0, 2.0]), ("without", [0.0, 0.0])], 2, "t", "x")
    assert [name for name, _ in chart.bars] == ["with", "without"]
    heights = [[round(height) for *_, height in drawn] for _, drawn in chart.bars]
    assert heights == [[0, 214], [214, 0]]
    assert "<polyline" not in render("t", "", [Section("one", "One", [chart])])


def test_a_section_inside_another_is_folded_and_one_without_parts_is_left_out():
    inner = [Section("full", "Full", ["text"]), Section("empty", "Empty", [])]
    page = Page(render("t", "", [Section("outer", "Outer", inner), Section("none", "None", [inner[1]])]))
    assert page.sections == ["outer", "full"]
    assert page.folded == {"full"}


def test_numbers_are_set_right_and_words_left():
    text = render("t", "", [Section("one", "One", [Table("", ("a", "b", "c"), [("1", "2.0", "x"), ("3", "-", "4")])])])
    assert '<td class="number">2.0</td><td>x</td>' in text
    assert '<td class="number">-</td><td>4</td>' in text
