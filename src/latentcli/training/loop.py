"""One training step, and the state it changes: weights, their average, the optimizer."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from latentcli.config import ModelConfig, TrainConfig
from latentcli.images import as_float
from latentcli.model.device import autocast, choose_device, prepare
from latentcli.model.figures import draw_error
from latentcli.model.objective import Elbo, training_elbo
from latentcli.model.vae import VAE
from latentcli.training import schedule

_EVALUATION_BATCH = 256  # images
_SETTLING_IMAGES = 512  # training images that batch statistics and sigma are taken from


class Learner:
    """A network being trained. What a step does depends on its number alone, never on the steps before it."""

    def __init__(self, model: ModelConfig, config: TrainConfig, steps: int) -> None:
        self.config = config
        self.steps = steps  # of the whole run: the schedules' length
        self.device = choose_device()
        torch.manual_seed(config.seed)  # the initial weights
        self.vae = prepare(VAE(model), self.device)
        self.averaged = copy.deepcopy(self.vae).eval().requires_grad_(False)  # what is evaluated and stored
        self.optimizer = _optimizer(self.vae, config)
        self.noise_scale = float(config.beta > 0)  # an autoencoder draws nothing
        self.skipped_steps = 0
        self.skipped_in_a_row = 0

    def step(self, images: Tensor, step: int) -> Elbo:
        """Learn from images, uint8 (n, height, width, channels); the ELBO is that before the update."""
        config = self.config
        x = self._input(images, step)
        noise = schedule.noise(config.seed, step, len(x), self.vae.config.latent_dim).to(self.device)
        noise *= self.noise_scale
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.learning_rate(config, step, self.steps)
        self.vae.train()
        with autocast(self.device, config.precision):
            elbo = training_elbo(self.vae, x, noise, schedule.beta(config, step, self.steps))
        loss = elbo.loss.mean()
        if config.optimizer == "adamw":
            loss = loss / self.vae.config.dimensions  # one clipping threshold for all sizes
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(step)
        return elbo

    def _input(self, images: Tensor, step: int) -> Tensor:
        x = as_float(images.to(self.device))
        if self.config.flip:
            mirrored = schedule.flips(self.config.seed, step, len(x)).to(self.device)
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return x.contiguous(memory_format=torch.channels_last)

    def _update(self, step: int) -> None:
        norm = nn.utils.clip_grad_norm_(self.vae.parameters(), self.config.clip or float("inf"))
        if not bool(norm.isfinite()):
            self.skipped_steps += 1
            self.skipped_in_a_row += 1
            return
        self.skipped_in_a_row = 0
        self.optimizer.step()
        rate = 1 - schedule.ema_decay(self.config, step)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.vae.parameters()), rate)

    @torch.no_grad()
    def evaluated(self, train: Tensor) -> VAE:
        """The network that is measured and stored, in eval mode: averaged weights, and what follows from them.

        Batch norm's statistics (as in Izmailov et al. 2018, section 3.2) and the likelihood's sigma are taken from
        some of the training images, uint8 (n, height, width, channels): those of the current weights would not fit.
        """
        some = train[schedule.order(self.config.seed, 0, len(train))[:_SETTLING_IMAGES]]
        norms = [module for module in self.averaged.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
            norm.train()
        if norms:
            with autocast(self.device, self.config.precision):
                draw_error(self.averaged, batches(some), self.noise_scale)
        self.averaged.eval()
        if self.averaged.config.likelihood == "gaussian":
            self.averaged.set_sigma(draw_error(self.averaged, batches(some), self.noise_scale))
        return self.averaged


def _optimizer(vae: VAE, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "rmsprop":  # Keras' rho and epsilon
        return torch.optim.RMSprop(vae.parameters(), lr=config.learning_rate, alpha=0.9, eps=1e-7)
    fused = vae.sigma.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        vae.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=fused
    )


def batches(images: Tensor) -> Iterator[Tensor]:
    """float batches (n, channels, height, width) over uint8 images, in order."""
    for start in range(0, len(images), _EVALUATION_BATCH):
        yield as_float(images[start : start + _EVALUATION_BATCH])
