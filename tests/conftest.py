"""Shared fixtures: drawn pictures, a tiny seeded model, and the command line run in this process."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in as many processes as there are cores

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from latentcli.cli.app import main
from latentcli.config import ModelConfig
from latentcli.model.device import to_numpy
from latentcli.model.flow import FlowPrior, MixturePaths
from latentcli.model.modelfile import save_model
from latentcli.model.pca import Pca
from latentcli.model.prior import MixturePrior, Prior
from latentcli.model.vae import VAE
from latentcli.training.prior.flow import VelocityField
from latentcli.training.sharp import run as sharpen

TINY = ModelConfig(width=16, height=16, channels=3, latent_dim=4, widths=(8, 8))
TINY_ALPHA = ModelConfig(width=16, height=16, channels=4, latent_dim=4, widths=(8, 8))


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def paths(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Outcome]


def close(actual: np.ndarray, expected: np.ndarray, atol: float = 1e-5, rtol: float = 1e-5) -> None:
    """Asserts that two arrays are equal but for rounding in single precision."""
    np.testing.assert_allclose(actual, expected, atol=atol, rtol=rtol)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a folder of its own and no user data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user-data"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line: run("sample", "--n", 4)."""

    def run_it(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["latentcli", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        result = capsys.readouterr()
        return Outcome(code, result.out, result.err)

    return run_it


def draw(size: tuple[int, int], seed: int, mode: str = "RGB", dot: bool = False) -> Image.Image:
    """A coloured disc on a coloured ground; `dot` puts a white square into the middle."""
    rng = np.random.default_rng(seed)
    ground, disc = (tuple(int(level) for level in rng.integers(0, 200, 3)) for _ in range(2))
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    width, height = size
    pen.ellipse((width // 8, height // 8, width * 7 // 8, height * 7 // 8), fill=disc)
    if dot:
        pen.rectangle((width * 3 // 8, height * 3 // 8, width * 5 // 8, height * 5 // 8), fill="white")
    return picture.convert(mode)


def moving_discs(count: int) -> list[Image.Image]:
    """16x16 pictures of discs at random places, which principal components do not describe."""
    rng = np.random.default_rng(0)
    pictures = []
    for x, y, *colour in rng.integers(2, 13, (count, 5)).tolist():
        picture = Image.new("RGB", (16, 16), "gray")
        red, green, blue = (20 * level for level in colour)
        ImageDraw.Draw(picture).ellipse((x - 4, y - 4, x + 4, y + 4), fill=(red, green, blue))
        pictures.append(picture)
    return pictures


def draw_cut_out(size: tuple[int, int], seed: int, mode: str = "RGBA", dot: bool = False) -> Image.Image:
    """The disc of `draw` on a transparent ground, whose hidden colour is that of `draw`."""
    picture = draw(size, seed, "RGB", dot)
    shape = Image.new("L", size)
    width, height = size
    ImageDraw.Draw(shape).ellipse((width // 8, height // 8, width * 7 // 8, height * 7 // 8), fill=255)
    picture.putalpha(shape)
    return picture.convert(mode)


def draw_folder(folder: Path, count: int, dot: bool = False, first_seed: int = 0, mode: str = "RGB") -> Path:
    """A folder of drawn 20x20 PNG pictures, with transparency where the mode has it."""
    folder.mkdir(parents=True, exist_ok=True)
    pen = draw_cut_out if mode in ("RGBA", "LA") else draw
    for number in range(count):
        pen((20, 20), first_seed + number, mode, dot).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    draw((60, 40), seed=5).save(path)
    return path


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """An untrained model with a fitted prior, as `models/tiny`."""
    return write_model(tmp_path / "models" / "tiny")


def write_model(
    folder: Path, config: ModelConfig = TINY, seed: int = 0, prior: Prior | None = None, **header: object
) -> Path:
    torch.manual_seed(seed)
    vae = VAE(config).eval()
    fit_by_chance(vae)
    means = torch.randn(2, config.latent_dim).numpy()
    factors = np.tile(np.eye(config.latent_dim, dtype=np.float32), (2, 1, 1))
    mixture = MixturePrior(np.array([0.5, 0.5], dtype=np.float32), means, factors)
    save_model(
        folder / "model.safetensors", vae, prior or mixture, {"finished_at": "2026-01-01T00:00:00+00:00", **header}
    )
    return folder


def flow_prior(latent_dim: int, k: int, values: int = 0) -> FlowPrior:
    """A flow whose network does something, over the first k dimensions."""
    torch.manual_seed(0)
    field = VelocityField(k, values)
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    basis = 2 * np.eye(k, latent_dim, dtype=np.float32)
    paths = MixturePaths(
        *(np.asarray(values, np.float32) for values in ([1.0], np.zeros((1, k)), np.ones((1, k)), np.eye(k)[None]))
    )
    mean = np.ones(latent_dim, dtype=np.float32) * basis.any(axis=0)
    return FlowPrior(mean, basis, paths, to_numpy(field.state_dict()))


def shorten_sharpening(monkeypatch: pytest.MonkeyPatch, steps: int, measurements: int) -> None:
    """Let sharpening take so few steps of few samples."""
    for name, value in (
        ("SHARP_LEAST_STEPS", steps),
        ("_LATENTS", 32),
        ("_MEASURED", 20),
        ("_MEASUREMENTS", measurements),
    ):
        monkeypatch.setattr(sharpen, name, value)


def random_components(dimensions: int, count: int) -> Pca:
    """Principal components of no images, around a gray mean."""
    components = torch.linalg.qr(torch.randn(dimensions, count)).Q
    return Pca(torch.full((dimensions,), 0.5), components, torch.linspace(9.0, 1.0, count), 0.01)


def fit_by_chance(vae: VAE) -> None:
    """Give the linear path and its corrections, where the network has one, something to do."""
    if not vae.linear:
        return
    vae.linear.fit(random_components(len(vae.linear.mean), vae.config.latent_dim))
    for parameter in vae.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def browser():
    """A running Chromium; the test is skipped where it or playwright is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()
