"""The documentation is true: its commands parse, its Python runs, its links lead somewhere, its messages and numbers
are those of the program, and what it quotes is what commands print.
"""

import ast
import importlib
import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import latentcli
from latentcli import config, defaults, presets
from latentcli.cli.app import app
from latentcli.cli.options import as_typed
from latentcli.concepts import diagnostics
from latentcli.data import sources
from latentcli.explorer import session
from latentcli.storage import history
from latentcli.training import plan, start
from latentcli.training.sharp import run as sharpen
from tests.conftest import draw, draw_folder

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "CONTRIBUTING.md"]
GROUP = typer.main.get_command(app)
FENCE = re.compile(r"^(```+)(\w*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
# Options of every command, of mkdocs, of our own scripts.
FOREIGN = {"--help", "--help-all", "--version", "--install-completion", "--strict", "--check"}
SHORTEST = 8  # characters of a quoted message between two gaps


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(GROUP))
GROUPS = {path[:-1] for path in COMMANDS if len(path) > 1}
OPTIONS = {name for command in COMMANDS.values() for p in command.params for name in (*p.opts, *p.secondary_opts)}


def blocks(text: str, language: str) -> list[str]:
    return [code for _, found, code in FENCE.findall(text) if found == language]


def without_blocks(text: str) -> str:
    return FENCE.sub("", text)


def command_lines(text: str) -> Iterator[list[str]]:
    """The words after `latentcli` of each command in the shell blocks; pipes and redirections end a command."""
    for line in "".join(blocks(text, "sh")).replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|(?=\s)|\s>\s", line):
            words = shlex.split(part, comments=True)
            if (
                words
                and Path(words[0]).name == "latentcli"
                and words[1:2] not in (["--version"], ["--install-completion"])
            ):
                yield words[1:]


def command_named(words: list[str]) -> tuple[str, ...]:
    name = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in COMMANDS), None)
    assert name, f"no command {' '.join(words[:2])}"
    return name


def page_id(page: Path) -> str:
    return page.name


def load_script(name: str, folder: Path = DOCS) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchor(heading: str) -> str:
    """The id that the site gives a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


BUILT = load_script("build_pages").PAGES  # pages that are made while the site is built


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_line_can_be_typed(page: Path) -> None:
    for words in command_lines(page.read_text()):
        name = command_named(words)
        COMMANDS[name].make_context(" ".join(name), words[len(name) :])


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    for code in CODE.findall(without_blocks(page.read_text())):
        words = code.split()
        if words[0] == "latentcli" and len(words) > 1 and re.fullmatch(r"[a-z][a-z-]*", words[1]):
            assert tuple(words[1:2]) in GROUPS or command_named(words[1:])
        if not code.startswith(("pip ", "python", "git ", "ruff ", "benchmarks/")):
            options = re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
            assert set(options) <= OPTIONS | FOREIGN, code


def test_the_command_reference_is_up_to_date() -> None:
    page = load_script("generate_cli").reference(app)
    assert (DOCS / "cli.md").read_text() == page, "run: python docs/generate_cli.py"


def test_the_command_reference_shows_no_limits_of_the_implementation() -> None:
    page = load_script("generate_cli").reference(app)
    assert "range" not in re.sub("ranges|--range", "", page).lower()
    assert "[x" not in page
    assert "<=x" not in page


def test_the_command_reference_escapes_what_markdown_would_take() -> None:
    escape = load_script("generate_cli").escape
    assert escape("a|b [c] <d> `e|[f]`") == r"a\|b \[c\] &lt;d&gt; `e|[f]`"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = without_blocks(page.read_text())
    for target in LINK.findall(text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, fragment = target.partition("#")
        if path in BUILT:
            continue
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if page.parent == DOCS:
            assert found.is_relative_to(DOCS), f"{target} is not part of the site"
        if fragment:
            assert fragment in map(anchor, HEADING.findall(without_blocks(found.read_text()))), target


def test_the_navigation_names_every_page() -> None:
    named = set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert named == {page.name for page in DOCS.glob("*.md")}


def needed() -> list[str]:
    requirements: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return requirements


def test_the_install_without_pytorch_names_every_other_package() -> None:
    (line,) = re.findall(r"^pip install (.*onnxruntime.*)$", (DOCS / "install.md").read_text(), re.MULTILINE)
    assert re.findall(r"'([^']+)'", line) == [package for package in needed() if not package.startswith("torch")]


@pytest.mark.parametrize("page", [DOCS / "index.md", DOCS / "install.md", ROOT / "README.md"], ids=page_id)
def test_the_install_for_the_cpu_names_the_needed_pytorch(page: Path) -> None:
    (torch,) = re.findall(r"pip install '([^']+)' --index-url https://download.pytorch.org/whl/cpu", page.read_text())
    assert torch in needed()


def test_every_extra_that_is_named_can_be_installed() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    texts = [path.read_text() for path in [*PAGES, ROOT / "README.md", *(ROOT / "src").rglob("*.py")]]
    named = re.findall(r'missing_extra\([^)]*?, "(\w+)"', "".join(texts), re.DOTALL)
    assert len(named) > 3
    assert set(named) | set(re.findall(r"pip install '\.\[(\w+)\]'", "".join(texts))) <= extras
    assert extras - {"dev"} <= set(re.findall(r"pip install '\.\[(\w+)\]'", (DOCS / "install.md").read_text()))


def test_nothing_is_installed_from_an_index_that_does_not_have_it() -> None:
    for page in [*PAGES, ROOT / "README.md", *(ROOT / "src").rglob("*.py")]:
        assert not re.search(r"latentcli\[\w+\]|pip install latentcli", page.read_text()), page.name


def test_every_picture_is_shown_somewhere() -> None:
    text = "".join(page.read_text() for page in [*PAGES, ROOT / "README.md"])
    for picture in (path for suffix in ("png", "jpg", "webp", "svg") for path in DOCS.glob(f"**/*.{suffix}")):
        if picture.parent.name != "assets":
            assert picture.name in text, picture.name


def test_every_picture_of_the_gallery_has_its_command() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (DOCS / "gallery.md").read_text())
    made = load_script("figures", ROOT / "recipes").figures()
    assert [DOCS / picture for picture in shown] == list(made)


def test_every_other_picture_has_its_recipe() -> None:
    recipes = (ROOT / "recipes" / "pictures.py").read_text(), (DOCS / "gallery.md").read_text()
    for picture in [*DOCS.glob("figures/*"), DOCS / "hero.webp"]:
        assert any(str(picture.relative_to(DOCS)) in recipe for recipe in recipes), picture.name


def test_quoted_outputs_are_what_the_commands_print() -> None:
    """Of commands that take seconds; words exactly, numbers within what processors differ by."""
    assert not list(load_script("generate_outputs").stale()), "run: python docs/generate_outputs.py"


def slow_outputs() -> list[tuple[str, str]]:
    quoted = load_script("generate_outputs").QUOTED
    found = (match for page in PAGES for match in quoted.findall(page.read_text()))
    return [(command, output) for slow, command, output in found if slow]


def test_quoted_outputs_of_slow_commands_have_the_words_of_the_program() -> None:
    """Of each phrase all pairs of words are looked for; one may hold a value that is filled in."""
    texts = source_texts()
    for command, output in slow_outputs():
        assert output.strip(), "run: python docs/generate_outputs.py --slow DATA"
        given = "|".join(map(re.escape, re.findall(r"\w{4,}", command)))
        for phrase in re.split(rf"\d[\d.,]*|\s{{2,}}|[\n,;:()]|[a-z0-9]+/| -> | --[a-z-]+|\b(?:{given})\b", output):
            unknown = [pair for pair in pairwise(phrase.split()) if " ".join(pair) not in texts]
            assert len(unknown) <= 1, phrase


def source_texts() -> str:
    """All texts in the source, as the command line says them; where a value is filled in there is a gap."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return as_typed("\n".join(found))


def quoted_messages() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text()
    advice = re.findall(r"^\| `([^`]+)` \|", (DOCS / "vectors.md").read_text().partition("## When there is")[2], re.M)
    return [line for block in blocks(text, "text") for line in block.splitlines()] + advice


def test_quoted_messages_are_those_of_the_program() -> None:
    """Each part between two gaps is looked for."""
    texts = source_texts()
    stale = [
        message
        for message in quoted_messages()
        if any(part not in texts for part in message.split("…") if len(part) >= SHORTEST)
    ]
    assert not stale


def python_of(page: Path) -> str:
    """The Python blocks of a page one after the other, but for those marked as not run."""
    return "\n".join(
        blocks(re.sub(r"<!-- not run -->\n```python\n.*?```\n", "", page.read_text(), flags=re.S), "python")
    )


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """What the pages assume: a face, two labelled folders, and photos to train on."""
    shutil.copy(ROOT / "examples" / "astronaut-face.png", tmp_path / "face.png")
    draw((60, 40), seed=5).save(tmp_path / "me.jpg")
    draw((60, 40), seed=6).save(tmp_path / "you.jpg")
    draw_folder(tmp_path / "smiling", 6, dot=True)
    draw_folder(tmp_path / "not-smiling", 6, first_seed=20)
    draw_folder(tmp_path / "photos", 24)
    return tmp_path


@pytest.mark.parametrize("page", [DOCS / "python.md", ROOT / "README.md"], ids=page_id)
def test_the_python_examples_run_from_top_to_bottom(page: Path, workshop: Path) -> None:
    code = python_of(page).replace("minutes=10", "epochs=1")  # the one thing that takes long
    assert code
    exec(compile(code, str(page), "exec"), {"__name__": "__main__"})
    for written in re.findall(r'\.save\("([^"]+)"\)', code):
        assert (workshop / written).exists(), written


def test_the_program_on_one_page_gives_what_edit_gives(workshop: Path) -> None:
    code = python_of(DOCS / "architecture.md")
    assert len(code.splitlines()) < 45
    exec(compile(code, "architecture.md", "exec"), {"__name__": "__main__"})
    expected = latentcli.load("faces").edit("face.png", smile=0.75)
    np.testing.assert_array_equal(np.asarray(Image.open("edited.png")), np.asarray(expected))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_blocks_are_valid(page: Path) -> None:
    for code in blocks(page.read_text(), "python"):
        ast.parse(code)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "SECURITY.md"], ids=page_id)
def test_source_files_that_are_named_exist(page: Path) -> None:
    package = ROOT / "src" / "latentcli"
    folders = {path.name for path in package.iterdir() if path.is_dir()}
    for name in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.py)`", page.read_text()):
        assert ((package if name.split("/")[0] in folders else ROOT) / name).is_file(), name


def test_modules_of_the_architecture_exist() -> None:
    package = ROOT / "src" / "latentcli"
    named = re.findall(r"`(\w+(?:\.\w+)+)`", (DOCS / "architecture.md").read_text())
    paths = {package.joinpath(*name.split(".")) for name in named if name != "model.safetensors"}
    modules = {path for path in paths if (package / path.relative_to(package).parts[0]).is_dir()}
    assert len(modules) > 15
    # A name inside a module may follow: `cli.app.main`.
    assert not [path for path in modules if not any(at.with_suffix(".py").is_file() for at in (path, path.parent))]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=page_id)
def test_headings_go_down_one_level_at_a_time(page: Path) -> None:
    levels = [len(line.split()[0]) for line in re.findall(r"^#+ .*", without_blocks(page.read_text()), re.MULTILINE)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_bundled_models_are_listed_with_all_their_vectors() -> None:
    rows = [line for line in (ROOT / "models" / "README.md").read_text().splitlines() if line.startswith("| [")]
    for model in (path.parent for path in (ROOT / "models").glob("*/model.safetensors")):
        (row,) = (row for row in rows if f"]({model.name}/" in row)
        for vector in model.glob("vectors/*.safetensors"):
            assert f"`{vector.stem}`" in row


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_benchmarks_import_what_is_there(path: Path) -> None:
    """Also in the programs that they hold as texts and run in processes of their own."""
    texts = [path.read_text(), *programs_in(path.read_text())]
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("latentcli"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}"), alias


def programs_in(text: str) -> list[str]:
    values = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return [value for value in values if isinstance(value, str) and "from latentcli" in value]


PHOTO, DIGITS, BOOK = (presets.DEFAULTS[name] for name in ("photo", "digits", "book"))
SQUARE = {side: presets.model_config("photo", side, side, 3) for side in (32, 64, 96)}
BATCHES = {side: presets.train_config(model).batch_size for side, model in SQUARE.items()}
EPOCHS = [presets.default_epochs(SQUARE[64], images) for images in (1, 10**9)]
WORDS: dict[float, str] = {2: "two", 3: "three", 10: "ten", 11: "eleven"}
SENTENCES = {
    "decisions.md": (f"{WORDS[len(needed())]} packages; all else is an extra",),
    "train.md": (
        f"| `photo` | all other pictures | {PHOTO.latent_dim}; {PHOTO.latent_dim_large} above {presets.LARGE} px, and "
        f"for {presets.LARGE} px with {presets.MANY_IMAGES:,} images or more | {PHOTO.likelihood} | Muon | "
        f"{PHOTO.images_seen:,}; above {presets.LARGE} px fewer, for the same time |",
        f"| `digits` | gray pictures, model size up to {presets.DIGITS_UP_TO} px | {DIGITS.latent_dim} | "
        f"{DIGITS.likelihood} | Muon | {DIGITS.images_seen:,} |",
        f"| `book` | only `--preset book` | {BOOK.latent_dim} | {BOOK.likelihood} | RMSprop |",
        f"| RMSprop | {BOOK.train.epochs} epochs |",
        f"28x28 gray pictures, batches of {BOOK.train.batch_size}.",
        f"up to {PHOTO.shift:.0%} of the side".replace("%", " %"),
        f"has {PHOTO.widths[0]} feature maps at half the size of the pictures",
        f"twice as many at a quarter, and so on, up to {max(PHOTO.widths)}",
        f"{config.SMALLEST} to {config.LARGEST} pixels a side",
        f"rounded down to {', '.join(map(str, presets.SIZES[:-1]))} or {presets.SIZES[-1]}.",
        f"Below {sources.HELD_OUT_NEEDS} images nothing is held out",
        f"fewer than {sources.HELD_OUT_NEEDS} images nothing is held out",
        f"Below {presets.FEW_IMAGES:,} training images",
        f"It sees {defaults.SHARP_SHARE:.0%} as many images".replace("%", " %"),
        f"in at least {defaults.SHARP_LEAST_STEPS} steps",
        f"lost more than {sharpen.MOST_LOST:g} dB",
        f"A batch has {BATCHES[32]} pictures up to 32 px, {BATCHES[64]} at 64 px, and {BATCHES[96]} above",
        f"with at least {EPOCHS[-1]} and at most {EPOCHS[0]} epochs",
        f"Above {presets._LINEAR_UP_TO} px the components are of pictures of half the size",
        f"colour when more than {plan._COLOUR_SHARE:.0%} of the pictures".replace("%", " %"),
        f"transparency when more than {plan._TRANSPARENT_SHARE:.0%} of the pictures".replace("%", " %"),
    ),
    "sampling.md": (
        f"less is cleaner and less varied. The default is {defaults.TEMPERATURE:g}",
        f"{defaults.GUIDANCE:g}, the default, is the fitted density itself",
        f"--spread {defaults.SPREAD:g}",
    ),
    "directions.md": (
        f"from {WORDS[defaults.TRAVERSAL_RANGE]} [standard deviations](glossary.md#sd) below",
        f"the {WORDS[defaults.TRAVERSAL_ROWS]} dimensions that carry most",
    ),
    "maps.md": (f"both sides, {defaults.TRAVERSAL_RANGE:g} by default",),
    "editing.md": (f"| `--detail {defaults.DETAIL:g}` |",),
    "merging.md": (f"`--detail {defaults.DETAIL:g}`, the default",),
    "howto.md": (f"raise `--detail` ({defaults.DETAIL:g} by default)",),
    "evaluate.md": (
        f"mean KL above {history.ACTIVE_KL:g} nats",
        f"at most {start._MOST_IMAGES:,} training images",
    ),
    "explore.md": (f"the middle {session.TYPICAL[1] - session.TYPICAL[0]} % of them",),
    "glossary.md": (f"above {history.ACTIVE_KL:g} nats on average",),
    "tutorial.md": (
        f"batches of {BOOK.train.batch_size}, {WORDS[BOOK.train.epochs]} epochs",
        f"`samples-0-{defaults.SAMPLES - 1}.png` has {defaults.SAMPLES} new digits",
        f"a grid of {defaults.MAP_CELLS} x {defaults.MAP_CELLS} latents",
    ),
    "vectors.md": (
        f"[AUC](glossary.md#auc) of {diagnostics._GOOD:g} or more",
        f"even LDA stays below AUC {diagnostics._ABSENT:g}",
        f"with {diagnostics.SMALL} latent dimensions or fewer",
        f"expected cosine below {diagnostics._UNRELIABLE:g}",
        f"a side effect above {diagnostics._SAME:g} of its own shift",
        f"LDA's AUC is more than {diagnostics._HIDDEN:g} higher",
        f"fewer than {diagnostics.MIN_HELD_OUT} held-out images of a class",
        f"n is {diagnostics._SHUFFLES}",
        f"and {diagnostics._SLOW_SHUFFLES} for `lda`",
        f"under {100 * diagnostics._OVERLAPPING:.0f} % of the length remains",
    ),
    "limits.md": (
        f"| a picture | {defaults.MEGAPIXELS:g} megapixels; to be edited {defaults.PHOTO_MEGAPIXELS:g}, or",
        f"| `sample` | {defaults.MOST_SEEDS:,} images with `--each`, {defaults.MOST_ON_SHEET:,} on a sheet |",
        f"| `interpolate` | {defaults.MOST_FRAMES:,} images as a video",
        f"| strengths | {defaults.MOST_STRENGTH:,.0f} class gaps |",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_numbers_are_those_of_presets_and_config(name: str) -> None:
    text = " ".join((DOCS / name).read_text().split())
    missing = [sentence for sentence in SENTENCES[name] if " ".join(sentence.split()) not in text]
    assert not missing


def test_measurements_that_decisions_rest_on_are_benchmarks() -> None:
    measured = re.findall(r"(?<![\w.])\d*\.\d+(?: s| %)?", (DOCS / "decisions.md").read_text())
    benchmarks = (DOCS / "benchmarks.md").read_text()
    assert len(measured) > 5
    assert [number for number in measured if number not in benchmarks] == []


def test_the_start_page_lists_the_bundled_models_with_all_their_vectors() -> None:
    rows = (DOCS / "index.md").read_text().splitlines()
    for model in (path.parent for path in (ROOT / "models").glob("*/model.safetensors")):
        (row,) = (row for row in rows if row.startswith(f"| `{model.name}` |"))
        named = set(re.findall("`([^`]+)`", row)) - {model.name}
        assert named == {vector.stem for vector in model.glob("vectors/*.safetensors")}
