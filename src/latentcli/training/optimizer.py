"""The optimizers: Muon for matrices with AdamW for the rest, AdamW alone, or Keras' RMSprop.

On CUDA no number is read back from the device, so that the next step can be prepared while one is computed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentcli.config import TrainConfig

_MOMENTUM = 0.95
_SIZE = 0.2  # root mean square of an entry of Muon's step per learning rate: that of AdamW (Liu et al. 2025, eq. 4)
_ROUNDS = 5  # of the Newton-Schulz iteration
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: singular values from 0.01 on land in 0.7 to 1.2
_NARROW = 16  # rows or columns: a smaller matrix has no spectrum worth evening out


class Optimizer:
    """Changes the weights of a network by their gradients."""

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        self._matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for parameter in network.parameters():
            is_matrix = parameter.dim() > 1 and min(len(parameter), parameter[0].numel()) >= _NARROW
            (self._matrices if config.optimizer == "muon" and is_matrix else rest).append(parameter)
        self._decay = 0.0 if config.optimizer == "rmsprop" else config.weight_decay
        self._precision = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self._momenta = [torch.zeros_like(matrix) for matrix in self._matrices]
        self._inner = _inner(rest, config)
        # Reading `skip` costs nothing on the CPU; on CUDA it would empty the queue.
        self._reads_back = rest[0].device.type != "cuda" or config.optimizer == "rmsprop"

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [*self._matrices, *self._inner.param_groups[0]["params"]]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, skip: Tensor) -> None:
        """Go one step; where `skip` (a float32 scalar on the device) is 1 nothing changes."""
        group = self._inner.param_groups[0]
        group["lr"] = rate
        if self._reads_back:
            if bool(skip):
                return
            keep: float | Tensor = 1.0
        else:
            self._inner.found_inf = skip  # type: ignore[attr-defined]  # as torch.amp.GradScaler tells it
            keep = 1 - skip
            for matrix in self._matrices:
                matrix.grad = torch.where(skip > 0, 0.0, _gradient(matrix))
        self._inner.step()
        directions = []
        for matrix, momentum in zip(self._matrices, self._momenta, strict=True):
            momentum.lerp_(_gradient(matrix), (1 - _MOMENTUM) * keep)
            directions.append(_as_matrix(_gradient(matrix).lerp_(momentum, _MOMENTUM)))  # Nesterov
        updates = orthogonal(directions, self._precision)
        for matrix, update in zip(self._matrices, updates, strict=True):
            size = rate * _SIZE * max(update.shape) ** 0.5
            matrix.mul_(1 - rate * self._decay * keep).sub_(_as_weight(update.mul_(size * keep), matrix))

    def tensors(self) -> dict[str, Tensor]:
        """All it remembers between steps, by name."""
        found = {f"momentum.{index}": momentum for index, momentum in enumerate(self._momenta)}
        for index, state in self._inner.state_dict()["state"].items():
            found |= {f"inner.{index}.{name}": value for name, value in state.items()}
        return found

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Remember what `tensors` gave. Raises KeyError or RuntimeError when they are of another network."""
        for index, momentum in enumerate(self._momenta):
            momentum.copy_(tensors[f"momentum.{index}"])
        group = self._inner.param_groups[0]
        for index, parameter in enumerate(group["params"]):
            prefix = f"inner.{index}."
            state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            step_device = parameter.device if group.get("fused") else torch.device("cpu")
            for name, value in state.items():
                # The fused optimizer walks memory, so a state must lie as its parameter does.
                self._inner.state[parameter][name] = (
                    torch.empty_like(parameter).copy_(value)
                    if value.shape == parameter.shape
                    else value.to(step_device)
                )


def orthogonal(matrices: Sequence[Tensor], precision: torch.dtype = torch.float32) -> list[Tensor]:
    """About U V^T of the singular value decomposition U S V^T of each matrix (rows, columns), in float32.

    Newton-Schulz iteration with the coefficients of Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural
    networks". X becomes P X with P = aI + bM + cM^2 and M = X X^T in each round; as all of them commute, only the
    product of the P is kept, which for wide matrices is a third of the work. Matrices of one height go together.
    """
    wide = [matrix if len(matrix) <= matrix.shape[1] else matrix.T for matrix in matrices]
    normed = [(matrix / (matrix.norm() + 1e-30)).to(precision) for matrix in wide]
    products: dict[int, Tensor] = {}
    for height in {len(x) for x in normed}:
        places = [place for place, x in enumerate(normed) if len(x) == height]
        found = _newton_schulz(torch.stack([normed[place] @ normed[place].T for place in places]))
        products |= dict(zip(places, found, strict=True))
    results = [(products[place] @ x).float() for place, x in enumerate(normed)]
    return [x if x.shape == matrix.shape else x.T for x, matrix in zip(results, matrices, strict=True)]


def _newton_schulz(m: Tensor) -> Tensor:
    """The factor that evens out the spectrum of X, from M = X X^T: (n, rows, rows)."""
    a, b, c = _COEFFICIENTS
    identity = torch.eye(m.shape[1], dtype=m.dtype, device=m.device)
    product = p = a * identity + b * m + c * (m @ m)
    for _ in range(_ROUNDS - 1):
        m = p @ m @ p
        p = a * identity + b * m + c * (m @ m)
        product = p @ product
    return product


def _as_matrix(weight: Tensor) -> Tensor:
    """(outputs, inputs) of a weight or of a kernel, which need not be copied where it lies channels last."""
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.dim() == 4 else weight


def _as_weight(matrix: Tensor, like: Tensor) -> Tensor:
    """The reverse of `_as_matrix`."""
    if like.dim() != 4:
        return matrix
    outputs, inputs, rows, columns = like.shape
    return matrix.view(outputs, rows, columns, inputs).permute(0, 3, 1, 2)


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad


def _inner(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "rmsprop":  # Keras' rho and epsilon
        return torch.optim.RMSprop(parameters, lr=config.learning_rate, alpha=0.9, eps=1e-7)
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=fused
    )
