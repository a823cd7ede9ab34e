"""A latent space of four dimensions in which everything can be worked out by hand."""

import numpy as np
import pytest
import torch

from latentcli.concepts.fit import Examples, FitSettings
from latentcli.concepts.vector import fit
from latentcli.model.prior import Geometry

GAP = np.array([3.0, 0.0, 1.0, 0.0])
ROUND = Geometry(torch.zeros(4), torch.eye(4), torch.randn(4000, 4, generator=torch.Generator().manual_seed(3)))


def drawn(count, seed, gap=GAP, **more):
    """Latents of unit variance; every other one is moved by the gap."""
    rng = np.random.default_rng(seed)
    shows = np.arange(count) % 2 == 0
    return Examples(rng.standard_normal((count, len(gap))) + shows[:, None] * gap, shows, **more)


@pytest.fixture
def smile():
    return fit("smile", drawn(2000, 0), drawn(400, 1), FitSettings(), ROUND, "0123456789ab", {"column": "smile"})
