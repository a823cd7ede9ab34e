"""A running explorer of the tiny model, with one vector."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from latentcli.explorer import server
from latentcli.explorer.session import Session
from latentcli.storage import catalog
from tests.conftest import draw_folder

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Answer:
    """Of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Explorer:
    """A session that is served at a port."""

    session: Session
    port: int

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/?token={TOKEN}"

    def ask(self, path, body=b"{}", method="POST", **headers):
        """A request with the right token, unless headers (`x_token`) say otherwise; None leaves one out."""
        sent = {"x-token": TOKEN} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = json.dumps(body).encode() if isinstance(body, dict) else body
            kept = {name: value for name, value in sent.items() if value is not None}
            connection.request(method, path, content, kept)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


@contextlib.contextmanager
def serving(session) -> Iterator[Explorer]:
    listener = server.listen(None, 0)
    port = listener.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(server.application(session, port, TOKEN), log_level="error"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield Explorer(session, port)
    finally:
        running.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def explorer(run, tiny_model) -> Iterator[Explorer]:
    draw_folder(Path("with"), 8, dot=True)
    draw_folder(Path("without"), 8, first_seed=20)
    assert run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", "--model", "tiny").code == 0
    with serving(Session(catalog.find_model("tiny"), Path("with"))) as running:
        yield running
