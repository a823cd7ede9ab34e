"""Anything at all where a text, a header or a table is expected: an error of ours or a result, nothing else."""

import contextlib
import json
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from latentcli import typed
from latentcli.cli.options import parse_crop, parse_size
from latentcli.concepts.csv_table import CsvTable
from latentcli.concepts.diagnostics import Diagnostics
from latentcli.concepts.edit import EditRequest, Strength, parse_row
from latentcli.concepts.labels import Cut
from latentcli.config import ModelConfig
from latentcli.errors import ConfigError, LatentCLIError
from latentcli.evaluation.diagnosis import Finding
from latentcli.evaluation.result import Evaluation
from latentcli.imaging.box import Box
from latentcli.imaging.images import parse_colour
from latentcli.pipelines.inputs import parse_seeds
from latentcli.storage import tensorfile
from latentcli.storage.catalog import new_model_name, parse_vector
from latentcli.storage.history import EpochReport, ModelHeader, TrainingSummary
from latentcli.text import message, shown, shown_path, stored
from latentcli.training.plan import TrainingPosition

anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
settings.register_profile(
    "ci", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("ci")

HEADERS = (
    ModelHeader, TrainingSummary, EpochReport, Evaluation, Finding, Diagnostics, TrainingPosition, Strength, EditRequest
)  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS, ids=lambda kind: kind.__name__)
@given(data=some.data())
def test_headers(kind, data):
    names = some.sampled_from([*kind.__dataclass_fields__, "more"])
    found = data.draw(anything | some.dictionaries(names, anything))
    with contextlib.suppress(ValueError, LatentCLIError):
        typed.read(kind, found)


@given(some.dictionaries(some.sampled_from([*ModelConfig().to_json(), "linear", "more"]), anything))
def test_settings_of_a_network(values):
    with contextlib.suppress(ConfigError):
        assert ModelConfig.from_json(values).to_json()


@given(some.dictionaries(some.sampled_from([*ModelConfig().to_json()]), anything))
def test_changed_settings_of_a_network(values):
    with contextlib.suppress(ConfigError):
        ModelConfig.from_json(ModelConfig().to_json() | values)


@given(some.dictionaries(some.sampled_from([*EditRequest().to_json(), "latentcli"]), anything))
def test_edits_in_files(values):
    edit = json.loads(EditRequest(vectors=(Strength("smile", strength=1.0),), model_id="x", original_sha256="y").text())
    for text in (json.dumps(edit | values), json.dumps(values)):
        with contextlib.suppress(ValueError):
            EditRequest.parse(text)


PARSERS = (parse_seeds, parse_size, parse_vector, Box.parse, Cut.parse, parse_colour, parse_crop)


@pytest.mark.parametrize("parse", [*PARSERS, lambda text: parse_row(text, "--strip")])
@given(text=some.text() | some.from_regex(r"-?[0-9.,:x=#a-f-]{0,40}"))
def test_texts_of_options(parse, text):
    with contextlib.suppress(LatentCLIError):
        parse(text)


@given(some.binary() | some.text(alphabet="file,;\t|\n\"'0.5-a\\").map(str.encode))
def test_tables(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    try:
        table = CsvTable.read(path, tmp_path)
    except LatentCLIError:
        return
    for column in table.texts:
        assert len(table.column(column)) == len(table.names)


@given(some.binary(max_size=300), some.integers(0, 400))
def test_tensor_files(tmp_path, data, place):
    path = tmp_path / "x.safetensors"
    tensorfile.write(path, "test", {"note": "x"}, {"a": np.arange(6, dtype=np.float32)})
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + data + whole[place + len(data) :])
    for reader in (tensorfile.read, partial(tensorfile.read, check=lambda *layout: None), tensorfile.read_header):
        with contextlib.suppress(LatentCLIError):
            reader(path, "test")


@given(some.text())
def test_nothing_that_a_terminal_obeys_is_shown(text):
    for line in (shown(text), message(text), shown_path(text)):
        assert line.isprintable() or not any(character < " " or "\x7f" <= character <= "\x9f" for character in line)
    assert bool(stored(text).decode()) == bool(text)


@given(some.text(min_size=1).filter(lambda text: "/" not in text and "\0" not in text and text not in (".", "..")))
def test_names_of_models_are_names_of_files(tmp_path, text):
    name = new_model_name(tmp_path / text)
    assert name
    assert len(name) <= 110
    assert not set(name) & set("/\0\n\x1b")
