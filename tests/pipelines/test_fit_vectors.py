"""`latentcli vectors` and what `apply-vector` does with them, through the command line."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentcli.concepts.vector import ConceptVector
from latentcli.imaging.images import read_image
from latentcli.model.modelfile import load_model
from latentcli.storage.latents import Latents
from tests.conftest import close, draw_folder, write_model

MODEL = ("--model", "tiny")
VECTORS = Path("models/tiny/vectors")


@pytest.fixture
def pictures(tmp_path, tiny_model):
    """Sixty pictures, half of them with a white square, and a table of them."""
    draw_folder(tmp_path / "all/with", 30, dot=True)
    draw_folder(tmp_path / "all/without", 30, first_seed=100)
    rows = ["file,dot,size,kind,twice"]
    for number in range(30):
        rows.append(f"with/{number:03d}.png,1,{number},{'ab'[number % 2]},{number % 2}")
        rows.append(f"without/{number:03d}.png,0,{number + 5},{'ab'[number % 2]},{number % 2}")
    Path("t.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "all"


TABLE = ("--labels", "t.csv", "--root", "all")
DOT = (*TABLE, "--column", "dot")


def load(name, folder=VECTORS):
    return ConceptVector.load(folder / f"{name}.safetensors")


def fitted(run, *arguments):
    outcome = run("vectors", "fit", *arguments, *MODEL, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)["vectors"]


def test_a_vector_carries_its_label(run, pictures):
    (found,) = fitted(run, "dot", *DOT)
    assert (found["positives"], found["negatives"]) == (30, 30)
    assert "cross-validated" in found["measured_on"]
    assert 0 < found["auc"] <= 1
    assert found["own_shift"]["concept"] == "dot"
    outcome = run("vectors", "fit", "again", *DOT, *MODEL)
    for text in ("again: 30 with, 30 without", "AUC 0.", "vectors report --model tiny"):
        assert text in outcome.err
    outcome = run("vectors", "report", *MODEL)
    for text in ("expected cosine", "shifts by edits of +1: again"):
        assert text in outcome.out


def test_every_column_at_once_is_encoded_once(run, pictures, monkeypatch):
    from latentcli.pipelines import inputs

    read = []

    def reading(path, config):
        read.append(path)
        return read_image(path, config)

    monkeypatch.setattr(inputs, "read_image", reading)
    found = fitted(run, *TABLE, "--all", "--threshold", "size=16,0:15")
    assert [each["name"] for each in found] == ["dot", "size", "kind-a", "kind-b", "twice"]
    assert len(read) == 60
    assert {shift["concept"] for shift in found[0]["side_effects"]} == {"size", "kind-a", "kind-b", "twice"}


def test_held_out_images_between_the_thresholds_count_for_the_auc_of_all(run, pictures):
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(1500)]
    scores = rng.random(1500)
    z = rng.standard_normal((1500, 4), np.float32) + 4 * scores[:, None].astype(np.float32)
    model = load_model("models/tiny")
    Latents(z, tuple(names), model.model_id).save(Path("many.latents.safetensors"))
    Path("many").mkdir()
    for name in names:
        (Path("many") / name).touch()
    Path("many.csv").write_text("file,score\n" + "".join(f"{n},{s}\n" for n, s in zip(names, scores, strict=True)))
    table = ("--labels", "many.csv", "--root", "many", "--latents", "many.latents.safetensors", "--column", "score")
    (extremes,) = fitted(run, "extremes", *table, "--above", 0.9, "--below", 0.1)
    assert extremes["labels"] == "score of many.csv, 0.9 and more against 0.1 and less"
    assert extremes["auc_all"] < extremes["auc"]
    (halves,) = fitted(run, "halves", *table, "--above", 0.5)
    assert halves["auc_all"] is None
    text = run("vectors", "report", *MODEL).out
    assert "with the images between the thresholds" in text
    assert "labels: score of many.csv" in text


def test_latents_that_are_there_are_taken(run, pictures, monkeypatch):
    run("encode", "all", *MODEL, "-o", "all.latents.safetensors")
    (plain,) = fitted(run, "dot", *DOT)
    shutil.move("all/with", "all/gone")
    shutil.copytree("all/gone", "all/with", copy_function=lambda source, target: Path(target).touch())
    (from_file,) = fitted(run, "dot2", *DOT, "--latents", "all.latents.safetensors")
    assert from_file["auc"] == pytest.approx(plain["auc"], abs=1e-6)
    assert load("dot").direction.tolist() == pytest.approx(load("dot2").direction.tolist(), abs=1e-5)


def test_methods_balance_and_orthogonality_are_reported(run, pictures):
    fitted(run, "kind", *TABLE, "--column", "kind", "--is", "a")
    for method in ("lda", "logistic", "svm"):
        (found,) = fitted(run, method, *DOT, "--method", method)
        assert found["method"] != "mean difference"
    (found,) = fitted(run, "balanced", *DOT, "--balance-by", "kind")
    assert found["balanced"] == "by kind, within 2 cells"
    assert found["own_shift"]["before"] is not None
    (found,) = fitted(run, "orthogonal", *DOT, "--orthogonal-to", "kind", "--orthogonal-in", "latent")
    assert found["kept"] < 1
    assert load("orthogonal").cosine(load("kind")) == pytest.approx(0, abs=1e-5)


def test_sub_folders_latents_files_pairs_and_changes_make_vectors(run, pictures, tmp_path):
    assert [each["name"] for each in fitted(run, "--folders", "all")] == ["with", "without"]
    close(load("with").direction, -load("without").direction)
    for name in ("with", "without"):
        run("encode", f"all/{name}", *MODEL, "-o", f"{name}.latents.safetensors")
    files = ("--positive", "with.latents.safetensors", "--negative", "without.latents.safetensors")
    fitted(run, "files", *files)
    close(load("files").direction, load("with").direction, atol=1e-5, rtol=1e-4)
    (paired,) = fitted(run, "paired", "--positive", "all/with", "--negative", "all/without", "--paired")
    assert paired["positives"] == 30
    (blur,) = fitted(run, "blur", "--positive", "all", "--augment", "blur=3")
    assert blur["positives"] == blur["negatives"] == 60


def test_a_vector_of_a_change_by_an_amount_is_refitted(run, pictures, tmp_path):
    fitted(run, "blur", "--positive", "all", "--augment", "blur=3")
    write_model(tmp_path / "models/new", seed=7)
    outcome = run("vectors", "refit", "blur", "--from", "tiny", "--model", "new", "--root", "all")
    assert outcome.code == 0, outcome.err
    assert load("blur", Path("models/new/vectors")).positives == 60


def test_shuffled_labels_are_said_to_mean_nothing(run, pictures):
    rng = np.random.default_rng(1)
    names = [line.split(",")[0] for line in Path("t.csv").read_text().splitlines()[1:]]
    rows = "".join(f"{name},{value}\n" for name, value in zip(names, rng.permutation(60) % 2, strict=True))
    Path("noise.csv").write_text("file,x\n" + rows)
    (found,) = fitted(run, "noise", "--labels", "noise.csv", "--root", "all", "--column", "x")
    assert found["advice"].startswith("no better than chance")


def test_the_same_picture_in_both_kinds_is_left_out_and_reported(run, pictures):
    shutil.copyfile("all/with/003.png", "all/without/003.png")
    outcome = run("vectors", "fit", "dot", *DOT, *MODEL)
    assert "2 images of dot are the same in both classes and were left out" in outcome.err
    assert load("dot").positives == 29


def test_a_pair_that_loses_an_image_is_left_out_as_a_whole(run, pictures):
    for number in (4, 5):
        shutil.copyfile("all/with/003.png", f"all/without/{number:03d}.png")
    (found,) = fitted(run, "dot", "--positive", "all/with", "--negative", "all/without", "--paired")
    assert (found["positives"], found["negatives"]) == (27, 27)


def test_vectors_are_combined_and_refitted_on_another_model(run, pictures, tmp_path):
    fitted(run, "dot", *DOT, "--balance-by", "kind")
    fitted(run, "kind", *TABLE, "--column", "kind", "--is", "a")
    outcome = run("vectors", "combine", "dot=1", "kind=-0.5", "--save", "both", *MODEL)
    assert outcome.code == 0, outcome.err
    close(load("both").direction, load("dot").direction - 0.5 * load("kind").direction)
    write_model(tmp_path / "models/new", seed=7)
    new = ("--from", "tiny", "--model", "new")
    assert "refit dot, kind first" in run("vectors", "refit", "both", *new).err
    assert "--root" in run("vectors", "refit", "dot", *new).err
    outcome = run("vectors", "refit", "dot", "kind", "both", *new, "--root", "all")
    assert outcome.code == 0, outcome.err
    there = load("dot", Path("models/new/vectors"))
    assert there.model_id == load_model("models/new").model_id
    assert (there.positives, there.diagnostics.balanced) == (30, "by kind, within 2 cells")
    combined = load("both", Path("models/new/vectors"))
    close(combined.direction, there.direction - 0.5 * load("kind", Path("models/new/vectors")).direction)


class Page(HTMLParser):
    """Tags nest, and nothing is loaded from outside."""

    def __init__(self, text):
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.loaded: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found["id"]} if "id" in found else set()
        self.loaded += [found[name] for name in ("src", "href") if name in found]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.mark.parametrize("images", [(), ("--images", "all")])
def test_the_report_is_a_table_and_a_page(run, pictures, images):
    assert "make one with" in run("vectors", "report", *MODEL).err
    fitted(run, "dot", *DOT, "--balance-by", "kind")
    fitted(run, "kind", *TABLE, "--column", "kind", "--is", "a")
    outcome = run("vectors", "report", *MODEL, *images)
    assert outcome.code == 0, outcome.err
    assert "tiny-vectors.html" in outcome.out
    assert "balanced by kind" in outcome.out
    text = Path("tiny-vectors.html").read_text()
    page = Page(text)
    assert page.headings == ["Overview", "Side effects", "Each vector", "Figures"]
    entries = re.findall("<article.*?</article>", text, re.DOTALL)
    assert [re.findall('href="(.*?)"', entry) for entry in entries] == [["#vector-0"], ["#vector-1"]]
    assert all(entry.count("<img") == 1 for entry in entries)
    assert all(link.startswith(("#", "data:image/webp;base64,")) for link in page.loaded)
    for what in ("ROC", "Projections of images", "in a random direction"):
        assert text.count(what) >= 2
    assert "shift, sd" in text  # before and after balancing
    assert ("Images at strengths" in text) == bool(images)  # too few are held out
    facts = json.loads(run("vectors", "report", *MODEL, *images, "--json").out)
    assert set(facts["vectors"][0]["cosines"]) == {"kind"}


def test_latents_and_samples_are_moved_like_images(run, pictures):
    fitted(run, "dot", *DOT)
    run("encode", "all/with/000.png", "all/with/001.png", *MODEL, "-o", "two.latents.safetensors")
    arguments = ("--vector", "dot", *MODEL)
    outcome = run("apply-vector", "two.latents.safetensors", "seed:7", "two.latents.safetensors#001.png", *arguments)
    assert outcome.code == 0, outcome.err
    assert sorted(outcome.paths) == ["001-dot.png", "seed-7-dot.png", "two-dot/000.png", "two-dot/001.png"]
    run("apply-vector", "all/with/001.png", *arguments, "-o", "image.png")
    by_latent, by_image = (np.asarray(Image.open(name)) for name in ("001-dot.png", "image.png"))
    assert np.abs(by_latent.astype(int) - by_image).max() <= 1
    assert run("apply-vector", "seed:x", *arguments).code == 2
    Latents(np.zeros((1, 4), dtype=np.float32), ("a",), "ffff").save(Path("other.latents.safetensors"))
    assert run("apply-vector", "other.latents.safetensors", *arguments).code == 1


def test_strips_and_sheets(run, pictures):
    fitted(run, "dot", *DOT)
    fitted(run, "kind", *TABLE, "--column", "kind", "--is", "a")
    (strip,) = run("apply-vector", "seed:1", "--vector", "dot", "--strip", "-1:2:7", *MODEL).paths
    assert strip == "seed-1-dot-1..2x7.png"
    with Image.open(strip) as picture:
        assert picture.width > 6 * picture.height
    (sheet,) = run("apply-vector", "seed:1", "--grid", "dot=-1:2:3", "--grid", "kind=-1:1:5", *MODEL).paths
    with Image.open(sheet) as picture:
        assert picture.width / picture.height == pytest.approx(5 / 3, rel=0.1)
    assert run("apply-vector", "seed:1", "--grid", "dot=-1:2:3", *MODEL).code == 2
    assert "FROM:TO:COUNT" in run("apply-vector", "seed:1", "--vector", "dot", "--strip", "1", *MODEL).err


def test_the_way_is_said_in_every_unit(run, pictures):
    fitted(run, "dot", *DOT)
    for options in (("--sigma", 1), ("--to", "p90"), ("--to", "positive", "--stay-typical")):
        outcome = run("apply-vector", "seed:1", "--vector", "dot", *options, "--force", *MODEL)
        assert outcome.code == 0, outcome.err
        assert "dot: strength" in outcome.err
        assert " sd, from p" in outcome.err
    assert run("apply-vector", "seed:1", "--vector", "dot", "--to", "p200", *MODEL).code == 2
    assert run("apply-vector", "seed:1", "--vector", "dot", "--to", "p50", "--sigma", 1, *MODEL).code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("x", *TABLE),
        ("x", "--positive", "all/with"),
        ("x", *DOT, "--is", "a", "--above", 1),
        ("x", *TABLE, "--all"),
        (*DOT,),
        ("x", "--positive", "a", "--negative", "b", "--balance-by", "kind"),
        ("x", *DOT, "--paired"),
        ("x", "--positive", "all/with", "--augment", "spin"),
        ("x", *DOT, "--between", "1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, pictures, arguments):
    assert run("vectors", "fit", *arguments, *MODEL).code == 2
    assert not VECTORS.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("dot", *TABLE, "--column", "nope"), "no column"),
        (("kind", *TABLE, "--column", "kind", "--above", 2, "--below", 1), "holds no numbers"),
        (("dot", *DOT, "--above", 2), "with and without the concept, got 0 and"),
        (("dot", *DOT, "--orthogonal-to", "nope"), "has no vector 'nope'"),
        (("dot", *DOT, "--balance-by", "dot"), "leave out a --balance-by"),
        (("a/b", *DOT), "cannot be a name"),
        (("dot", *DOT, "--latents", "nope.latents.safetensors"), "does not exist"),
        (("dot", "--positive", "all/with", "--negative", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(run, pictures, arguments, text):
    outcome = run("vectors", "fit", *arguments, *MODEL)
    assert outcome.code == 1
    assert text in outcome.err.splitlines()[-1]
    assert not VECTORS.exists() or not list(VECTORS.iterdir())


def test_two_concepts_of_one_name_are_refused(run, pictures):
    Path("t.csv").write_text(Path("t.csv").read_text().replace("twice", "kind-a"))
    outcome = run("vectors", "fit", *TABLE, "--all", *MODEL)
    assert (outcome.code, "two concepts are called kind-a" in outcome.err) == (1, True)


def test_a_vector_s_file_is_refitted_without_its_model(run, pictures, tmp_path):
    fitted(run, "dot", *DOT)
    shutil.move("models/tiny/vectors/dot.safetensors", "dot.safetensors")
    shutil.rmtree("models/tiny")
    write_model(tmp_path / "models/new", seed=7)
    outcome = run("vectors", "refit", "dot.safetensors", "--model", "new", "--root", "all")
    assert outcome.code == 0, outcome.err


def test_the_same_concept_under_another_name_is_no_side_effect(run, pictures):
    fitted(run, "dot", *DOT)
    (again,) = fitted(run, "again", *DOT)
    assert again["side_effects"] == []
