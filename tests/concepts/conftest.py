"""A latent space of four dimensions in which everything can be worked out by hand."""

import numpy as np
import pytest

from latentcli.concepts.fit import Examples, FitSettings
from latentcli.concepts.vector import fit
from latentcli.model.prior import Geometry

GAP = np.array([3.0, 0.0, 1.0, 0.0])
ROUND = Geometry(
    np.zeros(4, dtype=np.float32),
    np.eye(4, dtype=np.float32),
    lambda: np.random.default_rng(3).standard_normal((4000, 4), np.float32),
)


def drawn(count, seed, gap=GAP, **more):
    """Latents of unit variance; every other one is moved by the gap."""
    rng = np.random.default_rng(seed)
    shows = np.arange(count) % 2 == 0
    return Examples(rng.standard_normal((count, len(gap))) + shows[:, None] * gap, shows, **more)


@pytest.fixture
def smile():
    return fit("smile", drawn(2000, 0), drawn(400, 1), FitSettings(), ROUND, "0123456789ab", {"column": "smile"})
