"""PyTorch's random numbers of a seed, computed with NumPy: a seed gives the same sample with and without PyTorch.

NumPy and PyTorch draw from the same MT19937 (Matsumoto & Nishimura 1998) but turn its integers into fractions and
normal deviates differently; here as PyTorch does on the CPU (aten/src/ATen/native/cpu/DistributionTemplates.h).
"""

import math
from collections.abc import Sequence

import numpy as np

_BLOCK = 16  # normal deviates that PyTorch makes at once


def uniform_and_normal(seeds: Sequence[int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Results of `torch.rand(())` and then `torch.randn(count)` for each of n seeds: float32 (n,) and (n, count)."""
    redrawn = _BLOCK if count > _BLOCK and count % _BLOCK else 0  # the last block, if it is not whole, is drawn anew
    numbers = count + redrawn if count >= _BLOCK else 4 * ((count + 1) // 2)
    generator = np.random.MT19937()
    raw = np.empty((len(seeds), 1 + numbers), dtype=np.uint64)
    for row, seed in zip(raw, seeds, strict=True):
        generator._legacy_seeding(seed & 0xFFFFFFFF)  # as `torch.Generator.manual_seed` does
        row[:] = generator.random_raw(1 + numbers)  # whole numbers of 32 bits
    x = ((raw & 0xFFFFFF) * 2.0**-24).astype(np.float32)  # fractions of 24 bits
    uniform, x = x[:, 0], x[:, 1:]
    if count < _BLOCK:
        return uniform, _few(raw[:, 1:], count)
    whole = count - count % _BLOCK
    normal = np.empty((len(seeds), count), dtype=np.float32)
    normal[:, :whole] = _block(x[:, :whole].reshape(len(seeds), -1, _BLOCK)).reshape(len(seeds), whole)
    if redrawn:
        normal[:, -_BLOCK:] = _block(x[:, count:])
    return uniform, normal


def mixed(z: np.ndarray, noise: np.ndarray, spread: float) -> np.ndarray:
    """Mix z (d,) and noise (n, d) to sqrt(1 - spread^2) z + spread noise: (n, d), N(0, I) if z and noise are."""
    return np.asarray(np.float32(math.sqrt(1 - spread**2)) * z + np.float32(spread) * noise)


def _block(x: np.ndarray) -> np.ndarray:
    """Normal deviates of 16 uniform fractions x (..., 16) by Box-Muller: eight cosines, then eight sines."""
    radius = np.sqrt(-2 * np.log(1 - x[..., :8]))
    angle = np.float32(2 * np.pi) * x[..., 8:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _few(raw: np.ndarray, count: int) -> np.ndarray:
    """Normal deviates (n, count < 16) of 32-bit integers: Box-Muller on 53-bit fractions, cosine and sine in turn."""
    high, low = raw[:, 0::2], raw[:, 1::2]
    fractions = ((high << np.uint64(32) | low) & np.uint64((1 << 53) - 1)) * 2.0**-53
    radius = np.sqrt(-2 * np.log1p(-fractions[:, 1::2]))
    angle = 2 * np.pi * fractions[:, 0::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
    return pairs.reshape(len(raw), -1)[:, :count].astype(np.float32)
