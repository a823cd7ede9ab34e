"""The arrows of the layout: who may import whom, read from the source itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import latentcli

PACKAGE = Path(latentcli.__file__).parent
# From the ground up: a room imports from the floors below its own, and nothing else.
FLOORS = [
    {"errors"},
    {"config"},
    {"files", "box", "events", "table"},
    {"tensorfile", "history", "faces"},
    {"images", "latents", "catalog"},
    {"data", "model"},
    {"concepts", "evaluation", "pictures"},
    {"photo", "report"},
    {"training", "pipelines"},
    {"api"},
    {"cli"},
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
MOST_LINES = 450
LAZY_ELSEWHERE = {"sklearn", "onnxruntime", "dlib"}  # packages that may be imported inside functions outside cli


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first.startswith("__") else first


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        if node.module == "latentcli":
            return [f"latentcli.{alias.name}" for alias in node.names]
        return [node.module]
    return []


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    here = room(path)
    if not here:
        return  # the lazy names, and python -m latentcli
    for node in ast.walk(ast.parse(path.read_text())):
        for name in imported(node):
            there = name.split(".")[1] if name.startswith("latentcli.") else here
            if there not in (here, "__version__"):
                assert FLOOR[there] < FLOOR[here], f"{here} imports {there}"


def test_every_room_has_a_floor():
    assert {room(path) for path in sources()} - {""} == set(FLOOR)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_imports_inside_functions(path):
    if room(path) == "cli":
        return
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                for name in imported(node):
                    assert name.split(".")[0] in LAZY_ELSEWHERE, f"{function.name} imports {name}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_prints(path):
    if room(path) == "cli":
        return
    text = path.read_text()
    assert not re.search(r"^\s*print\(|import (typer|rich)|from (typer|rich)", text, re.MULTILINE)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_unpickles(path):
    text = path.read_text()
    assert not re.search(r"import pickle|pickle\.|torch\.load\(|torch\.save\(|allow_pickle|\beval\(\"|exec\(", text)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_stay_readable_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES
    assert path.stem not in ("utils", "helpers", "common", "core")


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys, latentcli; print([m for m in sys.modules if m.startswith('latentcli.')], 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] False"


def test_lazy_names_resolve():
    for name in latentcli.__all__:
        assert getattr(latentcli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = latentcli.nonsense
