"""Architecture: imports point down, modules have plain names, and the public surface is what the docs list."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

import latentcli
from latentcli.cli.app import app
from latentcli.cli.options import as_typed

ROOT = Path(__file__).parents[1]
PACKAGE = Path(latentcli.__file__).parent
# From the bottom up: a module imports from the floors below its own, and nothing else.
FLOORS = [
    {"defaults", "errors", "text"},
    {"typed"},
    {"config"},
    {"presets", "events", "runtime", "storage"},
    {"imaging"},
    {"data", "model"},
    {"figures"},
    {"concepts", "evaluation"},
    {"photo", "report"},
    {"training", "pipelines"},
    {"follow", "explorer"},
    {"api"},
    {"cli"},
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
GROUND_FLOOR = {"inputs", "outputs", "vectors", "choose"}  # what every command may import from `pipelines`
MOST_LINES = 450
MOST_BESIDE_FOLDERS = 10
# Words of a private dialect, as parts of identifiers; the field's words are describe, result, request, fingerprint, ...
DIALECT = {"told", "tell", "tells", "wish", "story", "prints", "leak", "leaks", "talk", "deep", "moments"}
# Command lines that people are given to copy: by module, words by which each line is known.
COMMANDS_TO_COPY = {
    "storage/catalog.py": ("make it with: latentcli vectors fit", "latentcli vectors refit"),
    "explorer/session.py": ('"--vector=', '["sample", "', '["edit", ', "shlex.join("),
    "training/results.py": ("latentcli sample --model", "latentcli encode photo.png --model"),
}
LAZY_ELSEWHERE = {"sklearn", "scipy", "onnxruntime", "filelock", "torch", "av", "umap", "uvicorn"}  # in functions


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def identifiers(path: Path) -> set[str]:
    """Names that the module defines, reads or passes."""
    fields = ("name", "id", "attr", "arg")
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return {name for node in nodes for field in fields if isinstance(name := getattr(node, field, None), str)}


@functools.cache
def torch_modules() -> frozenset[Path]:
    """Modules that PyTorch is imported with: their own imports at the top, or those of what they import there."""
    tops = {path: [name for node in ast.parse(path.read_text()).body for name in imported(node)] for path in sources()}
    names = {".".join(("latentcli", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in tops}
    found: set[Path] = set()
    while True:
        more = {
            path
            for path, imports in tops.items()
            if path not in found
            and any(
                name.split(".")[0] == "torch" or names.get(name) in found or names.get(name.rpartition(".")[0]) in found
                for name in imports
            )
        }
        if not more:
            return frozenset(found)
        found |= more


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first.startswith("__") else first


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        if node.module in ("latentcli", "latentcli.pipelines"):
            return [f"{node.module}.{alias.name}" for alias in node.names]
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


@pytest.mark.parametrize("path", sorted((PACKAGE / "pipelines").glob("*.py")), ids=lambda path: path.stem)
def test_commands_do_not_import_commands(path):
    for node in ast.walk(ast.parse(path.read_text())):
        for name in imported(node):
            if name.startswith("latentcli.pipelines."):
                there = name.split(".")[2]
                assert there in GROUND_FLOOR, f"{path.stem} imports {there}"


def test_every_room_has_a_floor():
    assert {room(path) for path in sources()} - {""} == set(FLOOR)


def test_the_tree_shows_few_names_beside_the_folders():
    assert len([path for path in PACKAGE.glob("*.py") if room(path)]) <= MOST_BESIDE_FOLDERS


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_imports_inside_functions(path):
    if room(path) == "cli":
        return
    with_torch = set(torch_modules())  # these may be imported by what works without PyTorch as well
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                for name in imported(node):
                    home = PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")
                    is_lazy = name.split(".")[0] in LAZY_ELSEWHERE or home in with_torch
                    assert is_lazy, f"{function.name} imports {name}"


def test_using_a_model_needs_no_pytorch():
    names = {path.relative_to(PACKAGE).as_posix() for path in torch_modules()}
    rooms = (
        "photo/",
        "concepts/",
        "report/",
        "cli/",
        "data/sources",
        "data/decode",
        "data/cache",
        "storage/",
        "imaging/",
        "api",
    )
    assert not [name for name in names if name.startswith(rooms)]
    assert {name for name in names if name.startswith("pipelines/")} == {"pipelines/evaluate.py"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_prints(path):
    if room(path) == "cli":
        return
    text = path.read_text()
    assert not re.search(r"^\s*print\(|import (typer|rich)|from (typer|rich)", text, re.MULTILINE)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_speaks_of_options(path):
    if room(path) != "cli":
        found = [line for line in path.read_text().splitlines() if re.search(r"(?<![-\w])--[a-z{]", line)]
        commands = COMMANDS_TO_COPY.get(path.relative_to(PACKAGE).as_posix(), ())
        assert not [line for line in found if not any(command in line for command in commands)]


def test_names_that_the_library_puts_in_messages_are_options():
    messages = set()
    for path in sources():
        if room(path) != "cli":
            nodes = list(ast.walk(ast.parse(path.read_text())))
            raised = [node for node in nodes if isinstance(node, ast.Raise | ast.Call)]
            texts = (part.value for node in raised for part in ast.walk(node) if isinstance(part, ast.Constant))
            messages |= {name for text in texts for name in re.findall("`[a-z_]+(?:=False)?`", str(text))}
    assert len(messages) > 50
    assert {as_typed(name) for name in messages} <= options(get_command(app))


def options(command):
    """Every option of a command and of its commands."""
    found = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return found.union(*map(options, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_unpickles(path):
    text = path.read_text()
    assert not re.search(r"import pickle|pickle\.|torch\.load\(|torch\.save\(|allow_pickle|\beval\(\"|exec\(", text)


def test_every_training_has_the_one_loop_and_the_one_checkpoint():
    texts = {
        path.relative_to(PACKAGE / "training").as_posix(): path.read_text()
        for path in sources()
        if room(path) == "training"
    }
    assert [name for name, text in texts.items() if "tensorfile.write" in text] == ["checkpoint.py"]
    assert [name for name, text in texts.items() if "checkpoint.save(" in text or "_SAVE_EVERY" in text] == ["loop.py"]


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


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_docstrings_open_with_a_noun(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text
    assert not re.match(r"(What|Where|How|Which|Who|When)\b", text)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_identifiers_use_the_words_of_the_field(path):
    for name in identifiers(path):
        words = re.findall("[a-z]+", re.sub("([A-Z])", r"_\1", name).lower())
        assert not DIALECT & set(words), name


def test_the_reference_lists_every_public_name():
    listed = set(re.findall(r"^::: (\S+)", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE))
    for name in set(latentcli.__all__) - {"__version__"}:
        home = getattr(latentcli, name).__module__
        assert {home, f"{home}.{name}"} & listed, name


def test_the_names_for_type_checkers_are_those_at_run_time():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    declared = {name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in imported_as(node)}
    assert set(latentcli.__all__) - {"__version__"} <= declared


def imported_as(node: ast.ImportFrom) -> list[str]:
    return [alias.asname for alias in node.names if alias.asname]


def test_type_checkers_find_the_annotations():
    """PEP 561: the marker is part of the package, and all of the package is part of the wheel."""
    assert (PACKAGE / "py.typed").is_file()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "Typing :: Typed" in settings["project"]["classifiers"]
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/latentcli"]
