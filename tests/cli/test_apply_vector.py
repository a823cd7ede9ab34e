"""`latentcli apply-vector`: moved images at the model's size."""

from tests.cli.conftest import MODEL, size
from tests.conftest import draw, draw_folder


def test_apply_vector_decodes_at_model_size(run, photo, vector):
    result = run("apply-vector", photo, "--vector", "dot=2", *MODEL)
    assert result.paths == ["face-dot+2.png"]
    assert size("face-dot+2.png") == (16, 16)


def test_apply_vector_computes_a_vector_from_folders_and_keeps_it(run, photo, tmp_path):
    draw_folder(tmp_path / "yes", 5, dot=True)
    draw_folder(tmp_path / "no", 5)
    folders = ("--positive", "yes", "--negative", "no")
    result = run("apply-vector", photo, *folders, "--strength", 1.5, *MODEL)
    assert result.paths == ["face-yes+1.5.png"]
    result = run("apply-vector", photo, *folders, "--save", "white", *MODEL)
    assert result.paths == ["models/tiny/vectors/white.safetensors", "face-white.png"]
    assert run("apply-vector", photo, "--vector", "white", *MODEL).paths == ["face-white-2.png"]


def test_apply_vector_wants_folders_or_vectors(run, photo, vector):
    assert run("apply-vector", photo, *MODEL).code == 2
    assert run("apply-vector", photo, "--positive", "labels/yes", *MODEL).code == 2
    assert run("apply-vector", photo, "--vector", "dot", "--save", "x", *MODEL).code == 2


def test_stems_that_meet_keep_their_suffix(run, tmp_path, vector):
    (tmp_path / "album").mkdir()
    draw((20, 20), 1).save("album/a.png")
    draw((20, 20), 2).save("album/a.jpg")
    result = run("apply-vector", "album", "--vector", "dot", *MODEL)
    assert sorted(result.paths) == ["album-dot/a.jpg.png", "album-dot/a.png.png"]


def test_sheets_say_their_strengths(run, vector):
    plain = run("apply-vector", "seed:1", "--vector", vector, "--strip=-1:1:3", *MODEL, "-o", "plain.png")
    assert plain.code == 0
    options = ("--labels", "--title", "Dots", "--scale", 2)
    assert (
        run("apply-vector", "seed:1", "--vector", vector, "--strip=-1:1:3", *options, *MODEL, "-o", "b.png").code == 0
    )
    assert size("plain.png") == (3 * 18 - 2, 16)
    assert size("b.png")[0] >= 3 * 36 - 4
    assert size("b.png")[1] > 2 * 16 + 30
    assert run("apply-vector", "seed:1", "--vector", vector, "--scale", 3, *MODEL, "-o", "one.png").code == 0
    assert size("one.png") == (48, 48)
