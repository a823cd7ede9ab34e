"""`latentcli traverse` and `latentcli vectors discover`: rows of images along axes."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latentcli.concepts.vector import ConceptVector
from latentcli.model.modelfile import load_model
from latentcli.pipelines.traverse import kl_per_dimension
from tests.cli.conftest import MODEL, pixels, size
from tests.conftest import TINY, draw_folder, write_model

PLAIN = ("--no-labels",)


def test_rows_are_the_dimensions_and_a_random_direction(run, tiny_model):
    result = run("traverse", "--steps", 5, *PLAIN, *MODEL)
    assert result.paths == ["tiny-dims.png"]
    assert "samples encoded again" in result.err
    assert size("tiny-dims.png") == (5 * 18 - 2, 5 * 18 - 2)  # four dimensions, and one row more
    model = load_model(tiny_model)
    where = model.geometry
    first = int(np.argmax(kl_per_dimension(model)[0]))
    z = model.prior.sample([0])[0]
    z[first] -= 2 * np.sqrt(where.covariance[first, first])
    wanted = np.rint(model.decode(z[None])[0].transpose(1, 2, 0) * 255)
    assert abs(pixels("tiny-dims.png")[:16, :16] - wanted).max() <= 1


def test_the_middle_of_every_row_is_the_photo(run, photo):
    run("traverse", "--axes", "pcs", "--rows", 2, "--of", photo, "--range", 1, *PLAIN, *MODEL, "-o", "rows.png")
    run("encode", photo, *MODEL)
    run("decode", "face.latents.safetensors", *MODEL, "-o", "again.png")
    rows, again = pixels("rows.png"), pixels("again.png")
    for top in (0, 18, 36):
        assert abs(rows[top : top + 16, 72:88] - again).max() <= 1


def test_vectors_and_names_have_rows_too(run):
    assert "has no vectors" in run("traverse", "--axes", "vectors", *MODEL).err
    draw_folder(Path("with"), 6, dot=True)
    draw_folder(Path("without"), 6, first_seed=6)
    assert run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", *MODEL).code == 0
    assert run("traverse", "--axes", "vectors", *MODEL).paths == ["tiny-vectors.png"]
    assert run("traverse", "--axes", "dot,pc1,z0,random", "--title", "Four").paths == ["tiny-dot-pc1-z0-random.png"]


def test_vectors_of_the_model_that_was_there_before_have_no_row(run, tmp_path):
    draw_folder(Path("with"), 6, dot=True)
    draw_folder(Path("without"), 6, first_seed=6)
    assert run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", *MODEL).code == 0
    write_model(tmp_path / "models" / "tiny", replace(TINY, latent_dim=6))
    result = run("traverse", "--axes", "vectors", *MODEL)
    assert result.code == 1
    assert "has no vectors" in result.err


@pytest.mark.parametrize(("by", "name"), [("latents", "pc"), ("pictures", "jac")])
def test_discovered_directions_are_kept_and_described(run, photo, by, name):
    result = run("vectors", "discover", "--n", 3, "--by", by, *MODEL)
    assert result.code == 0, result.err
    assert result.paths[-1] == f"tiny-{name}.png"
    assert len(result.paths) == 4
    assert re.search(rf"^{name}1 +[\d.]+% +\d+ of 255 ", result.err, re.MULTILINE)
    vectors = [ConceptVector.load(Path(path)) for path in result.paths[:3]]
    figures = [vector.discovered for vector in vectors if vector.discovered]
    assert [found.rank for found in figures] == [1, 2, 3]
    if by == "latents":
        shares = [found.variance for found in figures]
        assert shares == pytest.approx(sorted(shares, reverse=True))
        assert abs(vectors[0].cosine(vectors[1])) < 1e-4
    assert run("edit", photo, "--vector", f"{name}3", *MODEL).code == 0
    assert run("vectors", "list", *MODEL).code == 0
    assert run("vectors", "report", *MODEL).code == 0
    assert "has a vector" in run("vectors", "discover", "--by", by, *MODEL).err
    refused = run("vectors", "refit", f"{name}1", "--model", "tiny", "--root", ".")
    assert "found without labels" in refused.err


def test_discovered_directions_tell_what_they_change_in_named_concepts(run):
    draw_folder(Path("with"), 24, dot=True)
    draw_folder(Path("without"), 24, first_seed=50)
    assert run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", *MODEL).code == 0
    result = run("vectors", "discover", "--n", 1, *MODEL)
    assert "shifts by edits of +1: dot" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["traverse", "--axes", ""], "--axes takes"),
        (["traverse", "--axes", "pc7"], "there is no axis pc7"),
        (["traverse", "--axes", "nope"], "no vector nope"),
        (["traverse", "--steps", "1"], "--steps takes 2 to 101"),
        (["traverse", "--rows", "0"], "--rows takes 1"),
        (["traverse", "--range", "-1"], "--range takes more than 0"),
        (["traverse", "--of", "seed:0-1"], "--of takes one image"),
        (["vectors", "discover", "--n", "0"], "--n takes 1 to 100"),
        (["vectors", "discover", "-o", "x.avi"], "cannot write x.avi"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_line(run, arguments, message):
    result = run(*arguments, *MODEL)
    assert result.code in (1, 2)
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not list(Path().glob("*.png"))
    assert not list(Path("models/tiny").glob("vectors/*"))
