"""Optimizers: Muon for matrices with AdamW for all other weights, AdamW alone, or Keras' RMSprop.

On CUDA no number is read back from the device, so that the next step is queued while the current one is computed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop

from latentcli.config import TrainConfig

_MOMENTUM = 0.95  # of Muon, with Nesterov's correction
_SIZE = 0.2  # root mean square of an entry of Muon's step per learning rate: that of AdamW (Liu et al. 2025, eq. 4)
_ROUNDS = 5  # of the Newton-Schulz iteration, by which Muon orthogonalises a matrix
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: singular values from 0.01 on land in 0.7 to 1.2
_NARROW = 16  # rows or columns below which AdamW updates a matrix: too few singular values for Muon to equalise


class Optimizer:
    """Updates the weights of a network by their gradients, with the algorithm that `config.optimizer` names."""

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        self._matrices: list[nn.Parameter] = []
        self._rest: list[nn.Parameter] = []
        for parameter in network.parameters():
            is_matrix = parameter.dim() > 1 and min(len(parameter), parameter[0].numel()) >= _NARROW
            (self._matrices if config.optimizer == "muon" and is_matrix else self._rest).append(parameter)
        self._is_rmsprop = config.optimizer == "rmsprop"
        self._decay = config.weight_decay
        device = self._rest[0].device
        self._momenta = [torch.zeros_like(matrix) for matrix in self._matrices]
        self._means = [] if self._is_rmsprop else [torch.zeros_like(weight) for weight in self._rest]
        self._squares = [torch.zeros_like(weight) for weight in self._rest]
        self._steps = [torch.zeros((), device=device) for _ in self._rest]
        # Whether `step` reads the number `skip` back: on CUDA that would wait for all queued work.
        self._reads_back = device.type != "cuda" or self._is_rmsprop
        self._is_fused = device.type in ("cpu", "cuda")

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [*self._matrices, *self._rest]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, skip: Tensor) -> None:
        """Update the weights with learning rate `rate`; do nothing if `skip`, a float32 scalar on the device, is 1."""
        if self._reads_back and bool(skip):
            return
        if self._is_rmsprop:
            self._rmsprop(rate)
            return
        self._adamw(rate, None if self._reads_back else skip)
        self._muon(rate, skip)

    def _rmsprop(self, rate: float) -> None:
        """Update all weights by RMSprop with the decay and epsilon that are Keras' defaults."""
        gradients = [_gradient(weight) for weight in self._rest]
        rmsprop(
            list(self._rest), gradients, self._squares, [], [], self._steps, foreach=False,
            lr=rate, alpha=0.9, eps=1e-7, weight_decay=0.0, momentum=0.0, centered=False,
        )  # fmt: skip

    def _adamw(self, rate: float, skip: Tensor | None) -> None:
        # torch's function, because constructing torch.optim.AdamW imports torch's compiler, which takes a second.
        gradients = [_gradient(weight) for weight in self._rest]
        adamw(
            list(self._rest), gradients, self._means, self._squares, [], self._steps,
            fused=self._is_fused, foreach=False, found_inf=skip, amsgrad=False, maximize=False,
            lr=rate, beta1=0.9, beta2=0.99, weight_decay=self._decay, eps=1e-8,
        )  # fmt: skip

    def _muon(self, rate: float, skip: Tensor) -> None:
        keep: float | Tensor = 1.0
        if not self._reads_back:
            keep = 1 - skip
            for matrix in self._matrices:
                matrix.grad = torch.where(skip > 0, 0.0, _gradient(matrix))
        directions = []
        for matrix, momentum in zip(self._matrices, self._momenta, strict=True):
            momentum.lerp_(_gradient(matrix), (1 - _MOMENTUM) * keep)
            directions.append(_as_matrix(_gradient(matrix).lerp_(momentum, _MOMENTUM)))  # Nesterov
        updates = orthogonal(directions)
        for matrix, update in zip(self._matrices, updates, strict=True):
            size = rate * _SIZE * max(update.shape) ** 0.5
            matrix.mul_(1 - rate * self._decay * keep).sub_(_as_weight(update.mul_(size * keep), matrix))

    def tensors(self) -> dict[str, Tensor]:
        """Momenta and step counts by name, for the checkpoint. Fused AdamW needs the memory layout of the weights."""
        kinds = {"momentum": self._momenta, "mean": self._means, "square": self._squares, "step": self._steps}
        return {f"{kind}.{index}": value for kind, values in kinds.items() for index, value in enumerate(values)}


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Approximation of U V^T in the singular value decomposition U S V^T of each matrix (rows, columns), in float32.

    Newton-Schulz iteration with the coefficients of Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural
    networks". Each round replaces X by P X with P = aI + bM + cM^2 and M = X X^T; as all P commute, only their
    product is kept, a third of the work for wide matrices. Matrices with equally many rows form one batch.
    bf16 is too coarse: rounded to 8 bits, M has negative eigenvalues, which the iteration amplifies some hundred times.
    """
    wide = [matrix if len(matrix) <= matrix.shape[1] else matrix.T for matrix in matrices]
    normed = [matrix / (matrix.norm() + 1e-30) for matrix in wide]
    products: dict[int, Tensor] = {}
    for height in {len(x) for x in normed}:
        places = [place for place, x in enumerate(normed) if len(x) == height]
        found = _newton_schulz(torch.stack([normed[place] @ normed[place].T for place in places]))
        products |= dict(zip(places, found, strict=True))
    results = [products[place] @ x for place, x in enumerate(normed)]
    return [x if x.shape == matrix.shape else x.T for x, matrix in zip(results, matrices, strict=True)]


def _newton_schulz(m: Tensor) -> Tensor:
    """Matrices P (n, rows, rows) that bring all singular values of P X to about 1, given `m` = X X^T of equal shape."""
    a, b, c = _COEFFICIENTS
    identity = torch.eye(m.shape[1], dtype=m.dtype, device=m.device)
    product = p = a * identity + b * m + c * (m @ m)
    for _ in range(_ROUNDS - 1):
        m = p @ m @ p
        p = a * identity + b * m + c * (m @ m)
        product = p @ product
    return product


def _as_matrix(weight: Tensor) -> Tensor:
    """A linear weight or a convolution kernel as a matrix (outputs, inputs); channels-last kernels are not copied."""
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.dim() == 4 else weight


def _as_weight(matrix: Tensor, like: Tensor) -> Tensor:
    """A matrix (outputs, inputs) in the shape of the weight or kernel `like`, from which `_as_matrix` made it."""
    if like.dim() != 4:
        return matrix
    outputs, inputs, rows, columns = like.shape
    return matrix.view(outputs, rows, columns, inputs).permute(0, 3, 1, 2)


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad
