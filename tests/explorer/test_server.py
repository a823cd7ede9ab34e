"""The explorer's server: pictures, commands that repeat them, and everybody who is turned away."""

import asyncio
import io
import shlex
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentcli.errors import ConfigError, UsageError
from latentcli.explorer import server, session
from latentcli.explorer.session import Session
from latentcli.explorer.state import State, parse
from latentcli.pipelines import choose
from latentcli.storage import catalog
from latentcli.storage.latents import Latents
from tests.conftest import TINY, draw, write_model
from tests.explorer.conftest import TOKEN, serving

SAMPLE = {"seed": 7, "moves": {"dot": 1.5}}


def photo(explorer, name="me.png"):
    draw((60, 40), seed=5).save("me.png")
    answer = explorer.ask("/api/photo", Path("me.png").read_bytes(), x_name=name)
    assert answer.status == 200, answer
    return {"photo": answer.json["photo"], "moves": {"dot": 2}}


def test_the_page_describes_the_model_and_its_vectors(explorer):
    page = explorer.ask(f"/?token={TOKEN}", b"", "GET", x_token=None)
    assert b"<title>latentcli explore</title>" in page.body
    found = explorer.ask("/api/model").json
    assert found["name"] == "tiny"
    assert [vector["name"] for vector in found["vectors"]] == ["dot", "pc1", "pc2", "pc3", "pc4"]
    assert found["vectors"][0]["labelled"]
    assert not found["vectors"][1]["labelled"]
    assert found["images"] == 8


@pytest.mark.parametrize("state", [SAMPLE, {"seed": 7}, {"image": 2, "moves": {"dot": -1, "pc2": 0.5}}])
def test_the_command_repeats_the_picture(run, explorer, state):
    command = explorer.ask("/api/command", {"state": state}).json["command"]
    words = shlex.split(command)
    if "moves" not in state and "image" in state:
        assert command == ""
        return
    assert words[0] == "latentcli"
    written = run(*words[1:], "--output", "again.png")
    assert written.code == 0, written
    answer = explorer.ask("/api/download", {"state": state})
    assert answer.body == Path("again.png").read_bytes()
    assert answer.headers["content-disposition"].startswith("attachment; filename=")


def test_a_photo_is_edited_as_by_the_command(run, explorer):
    state = photo(explorer)
    preview = explorer.ask("/api/picture", {"state": state})
    with Image.open(io.BytesIO(preview.body)) as picture:
        assert picture.size == (60, 40)
    command = explorer.ask("/api/command", {"state": state}).json["command"]
    assert run(*shlex.split(command)[1:], "--output", "again.png").code == 0
    answer = explorer.ask("/api/download", {"state": state})
    assert answer.body == Path("again.png").read_bytes()
    assert "me-dot+2.png" in answer.headers["content-disposition"]
    plain = explorer.ask("/api/download", {"state": {"photo": state["photo"]}})
    assert plain.body == Path("me.png").read_bytes()


def test_a_large_photo_is_shown_as_a_preview(explorer):
    draw((1600, 1200), seed=5).save("large.png")
    key = explorer.ask("/api/photo", Path("large.png").read_bytes()).json["photo"]
    shown = explorer.ask("/api/picture", {"state": {"photo": key, "moves": {"dot": 1}}})
    with Image.open(io.BytesIO(shown.body)) as picture:
        assert picture.size == (768, 576)


def test_a_photo_without_a_face_is_said_and_its_centre_can_be_taken(tmp_path):
    config = replace(TINY, crop="face")
    write_model(tmp_path / "models" / "portraits", config)
    with serving(Session(catalog.find_model("portraits"))) as portraits:
        draw((600, 400), seed=5).save("disc.png")
        key = portraits.ask("/api/photo", Path("disc.png").read_bytes(), x_name="disc.png").json["photo"]
        answer = portraits.ask("/api/picture", {"state": {"photo": key}})
        assert answer.status == 400
        assert "untick 'find the face'" in answer.json["error"]
        assert portraits.ask("/api/picture", {"state": {"photo": key, "align": False}}).status == 200
        state = {"photo": key, "align": False, "moves": {"pc1": 1}}
        assert "--no-align" in portraits.ask("/api/command", {"state": state}).json["command"]


def test_a_photo_that_the_model_does_not_know_is_shown_and_that_is_said(explorer, monkeypatch):
    monkeypatch.setattr(choose, "_limit", lambda entry: 1e-9)
    draw((600, 400), seed=5).save("me.png")
    key = explorer.ask("/api/photo", Path("me.png").read_bytes(), x_name="me.png").json["photo"]
    notes = explorer.ask("/api/start", {"state": {"photo": key}}).json["notes"]
    assert notes[0].startswith("me.png is unlike the images of tiny")
    assert explorer.ask("/api/picture", {"state": {"photo": key}}).status == 200


def test_a_walk_starts_and_ends_at_its_pins(explorer):
    ends = [SAMPLE, {"seed": 9}]
    shown = [explorer.ask("/api/picture", {"state": {"walk": [*ends, t]}}).body for t in (0, 1, 7)]
    assert shown == [explorer.ask("/api/picture", {"state": end}).body for end in (*ends, ends[1])]
    assert explorer.ask("/api/command", {"state": {"walk": [*ends, 0.5]}}).json["command"] == ""
    content = explorer.ask("/api/latents", {"state": {"walk": [*ends, 0.5]}}).body
    Path("l.latents.safetensors").write_bytes(content)
    assert len(Latents.load(Path("l.latents.safetensors"))) == 1


def test_ranges_hold_nothing_else_than_what_is_typical(explorer):
    ranges = explorer.ask("/api/start", {"state": {"seed": 0}}).json["ranges"]
    assert set(ranges) == {"dot", "pc1", "pc2", "pc3", "pc4"}
    assert all(low <= 0 <= high for low, high in ranges.values())
    strip = explorer.ask("/api/strip", {"state": SAMPLE, "name": "dot"})
    with Image.open(io.BytesIO(strip.body)) as picture:
        assert picture.size == (5 * 18 - 2, 16)


def test_a_vector_is_fitted_to_two_piles_and_kept(run, explorer):
    piles = {
        "positive": [{"image": number} for number in range(4)],
        "negative": [{"seed": number} for number in range(4)],
    }
    found = explorer.ask("/api/fit", {"name": "mine", **piles})
    assert found.status == 200, found
    assert found.json["positives"] == 4
    assert "mine" in [vector["name"] for vector in explorer.ask("/api/model").json["vectors"]]
    assert "mine" in run("vectors", "list", "--model", "tiny").out
    again = explorer.ask("/api/fit", {"name": "mine", **piles})
    assert again.status == 400
    assert again.json["error"] == "model tiny has a vector 'mine'; choose another name"
    assert "two or more" in explorer.ask("/api/fit", {"name": "x", "positive": [], "negative": []}).json[
        "error"
    ].replace("2", "two")
    assert "cannot be a name" in explorer.ask("/api/fit", {"name": "../x", **piles}).json["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x_token": None},
        {"x_token": "another"},
        {"x_token": ""},
        {"host": "evil.example"},
        {"host": "127.0.0.1:1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/model", "/"])
def test_whoever_is_not_the_page_is_turned_away(explorer, path, headers):
    answer = explorer.ask(path, b"{}", "POST" if path != "/" else "GET", **headers)
    assert answer.status == 403
    assert b"tiny" not in answer.body


def test_the_page_itself_is_let_in(explorer):
    origin = f"http://127.0.0.1:{explorer.port}"
    assert explorer.ask("/api/model", origin=origin, sec_fetch_site="same-origin").status == 200
    assert explorer.ask("/api/model", host=f"localhost:{explorer.port}").status == 200


@pytest.mark.parametrize(
    "path", ["/../session.py", "/page/app.js", "/api/../app.js", "/%2e%2e/%2e%2e/etc/passwd", "/style.css/.."]
)
def test_no_other_file_is_served(explorer, path):
    assert explorer.ask(path, b"", "GET").status in (403, 404)


def test_answers_forbid_other_sites_and_foreign_scripts(explorer):
    headers = explorer.ask("/app.js", b"", "GET", x_token=None).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


def test_an_upload_beyond_the_limit_is_refused_before_it_is_read(explorer):
    with socket.create_connection(("127.0.0.1", explorer.port), timeout=30) as connection:
        head = f"POST /api/photo HTTP/1.1\r\nHost: 127.0.0.1:{explorer.port}\r\nX-Token: {TOKEN}\r\n"
        connection.sendall(f"{head}Content-Length: 500000000\r\n\r\n".encode())
        assert b"413" in connection.recv(4096).splitlines()[0]
    with socket.create_connection(("127.0.0.1", explorer.port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: 5\r\n\r\nhello".encode())
        assert b"400" in connection.recv(4096).splitlines()[0]


def test_a_request_of_endless_pieces_is_cut_off(explorer, monkeypatch):
    monkeypatch.setattr(server, "MOST_PIPED", 1 << 16)
    answer = explorer.ask("/api/photo", iter([b"x" * 40_000] * 4))
    assert answer.status == 413


@pytest.mark.parametrize("name", ["../../evil.png", "..\\evil.png", "a/b.png", "\x1b]0;x\x07.png", "x" * 5000 + ".png"])
def test_a_path_in_a_name_goes_nowhere(explorer, name):
    from urllib.parse import quote

    state = photo(explorer, quote(name))
    answer = explorer.ask("/api/download", {"state": state})
    assert answer.status == 200
    disposition = answer.headers["content-disposition"]
    assert "/" not in disposition
    assert "\x1b" not in disposition
    assert not list(Path().glob("**/evil*"))


@pytest.mark.parametrize(
    "state",
    [
        None, 3, [], {}, {"seed": -1}, {"seed": 1.5}, {"seed": True}, {"seed": 10**30}, {"seed": 1, "photo": "x"},
        {"photo": "unknown"}, {"photo": 3}, {"image": 99}, {"walk": [1, 2, 3]},
        {"walk": [{"seed": 1}, {"seed": 2}, "x"]},
        {"seed": 1, "moves": {"nope": 1}}, {"seed": 1, "moves": {"dot": "x"}}, {"seed": 1, "moves": {"dot": 1e9}},
        {"seed": 1, "moves": [1]},
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused_and_the_server_lives_on(explorer, state):
    for path in ("picture", "start", "download", "command", "strip", "latents"):
        answer = explorer.ask(f"/api/{path}", {"state": state, "name": "dot"})
        unknown = isinstance(state, dict) and (
            state.get("moves") == {"nope": 1} or "image" in state or "photo" in state
        )
        assert answer.status == 400 or (unknown and path in ("command", "start") and answer.status == 200), path
    assert explorer.ask("/api/picture", {"state": SAMPLE}).status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"state": {"seed": NaN}}'])
def test_bodies_that_are_no_json_object(explorer, body):
    assert explorer.ask("/api/picture", body).status == 400


def test_a_request_of_more_than_a_mebibyte_is_refused(explorer):
    answer = explorer.ask("/api/picture", b" " * ((1 << 20) + 1))
    assert answer.status == 413
    assert "1 MiB, the limit" in answer.json["error"]


def test_the_model_may_go_away_meanwhile(explorer):
    Path("models/tiny/model.safetensors").unlink()
    assert explorer.ask("/api/picture", {"state": SAMPLE}).status == 200
    assert "models/tiny" in explorer.ask("/api/command", {"state": SAMPLE}).json["command"]


def test_what_a_newer_request_has_overtaken_is_not_computed():
    computed: list[int | str] = []

    async def ask():
        queue = server.Queue()
        work = [queue.run("tab", number, partial(computed.append, number)) for number in (1, 2, 3)]
        others = [
            queue.run("other tab", 1, lambda: computed.append("other")),
            queue.run("tab", 0, lambda: computed.append(0)),
        ]
        return await asyncio.gather(*work, *others, return_exceptions=True)

    found = asyncio.run(ask())
    assert computed[-3:] == [3, "other", 0]
    assert 2 not in computed
    assert sum(isinstance(one, server.Stale) for one in found) >= 1


def test_a_port_that_is_taken_is_said_and_the_usual_one_may_be():
    with server.listen(None, 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be used"):
            server.listen(port, 0)
        with server.listen(None, port) as second:
            assert second.getsockname()[1] != port


def test_states_nest_only_so_deep():
    state: dict[str, object] = {"seed": 1}
    for _ in range(4):
        state = {"walk": [state, {"seed": 2}, 0.5]}
    assert isinstance(parse(state), State)
    with pytest.raises(UsageError):
        parse({"walk": [state, {"seed": 2}, 0.5]})


def test_photos_beyond_the_limit_are_forgotten(explorer, monkeypatch):
    monkeypatch.setattr(session, "_MOST_KEPT", 500)
    first = photo(explorer)
    for number in range(8):
        draw((30, 30), seed=number).save("other.png")
        explorer.ask("/api/photo", Path("other.png").read_bytes())
    answer = explorer.ask("/api/download", {"state": first})
    assert answer.status == 400
    assert "open it again" in answer.json["error"]


def test_pictures_follow_the_sliders(explorer):
    def pixels(state):
        with Image.open(io.BytesIO(explorer.ask("/api/picture", {"state": state}).body)) as picture:
            return np.asarray(picture).astype(int)

    assert (pixels(SAMPLE) != pixels({"seed": 7})).any()
    assert (pixels({"seed": 7, "moves": {"dot": 0}}) == pixels({"seed": 7})).all()
