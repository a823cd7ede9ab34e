"""Paths through latent space: pure functions of tensors."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from latentcli.config import InterpolationMethod

_PARALLEL = 1e-4  # sine of the angle below which slerp has no plane to turn in


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The straight line from a (d,) to b (d,) at each t in [0, 1]: (len(t), d).

    >>> lerp(torch.zeros(2), torch.ones(2), torch.tensor([0.0, 0.25]))
    tensor([[0.0000, 0.0000],
            [0.2500, 0.2500]])
    """
    return torch.lerp(a, b, t[:, None])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The great circle from a (d,) to b (d,) at each t: (len(t), d). White 2016, "Sampling generative networks".

    The ends keep their lengths; where they are parallel, opposite or zero there is no circle, and the line is taken.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    if sine < _PARALLEL or not a.any() or not b.any():
        return lerp(a, b, t)
    t = t[:, None]
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / sine


METHODS: dict[InterpolationMethod, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"lerp": lerp, "slerp": slerp}


def walk(keyframes: Tensor, steps: int, method: InterpolationMethod, loop: bool = False) -> Tensor:
    """From keyframe to keyframe (k, d), `steps` latents per leg with both its ends, shared ends once.

    Without `loop` the walk has (k - 1) * (steps - 1) + 1 latents; with it one more leg leads back to the first
    keyframe, whose second visit is left out.
    """
    stops = torch.cat([keyframes, keyframes[:1]]) if loop else keyframes
    t = torch.linspace(0, 1, steps)[:-1]
    legs = [METHODS[method](a, b, t) for a, b in itertools.pairwise(stops)]
    return torch.cat(legs if loop else [*legs, stops[-1:]])
