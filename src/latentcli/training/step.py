"""Training step of the VAE, and the state that a step changes: weights, their running average, the optimizer."""

import copy
import math

import torch
from torch import Tensor, nn

from latentcli.config import ModelConfig, TrainConfig
from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.model.device import autocast, prepare
from latentcli.model.objective import Elbo, draw_errors, evaluate_elbo
from latentcli.model.vae import VAE
from latentcli.training import augment, schedule
from latentcli.training.learner import Learner
from latentcli.training.optimizer import Optimizer

SETTLING_IMAGES = 512  # images from which batch norm's statistics and the likelihood's sigma are computed
_SETTLING_BATCH = 256  # images of a batch, at most, from which batch norm's statistics are computed


class TrainState(Learner):
    """A VAE in training with its optimizer. A step's noise and learning rate depend on seed and step number alone."""

    def __init__(self, vae: VAE, config: TrainConfig, stage: schedule.Stage, device: torch.device) -> None:
        self.config, self.stage, self.device = config, stage, device
        self.vae = prepare(vae, device)
        self.averaged: VAE = copy.deepcopy(self.vae).eval().requires_grad_(False)
        self.averaged.linear = self.vae.linear  # shared, because training leaves the linear path unchanged
        super().__init__(self.vae, self.averaged, Optimizer(self.vae, config))
        self.noise_scale = float(config.beta > 0)  # 0 for an autoencoder, which decodes the posterior mean
        self._skipped = torch.zeros(2, device=device)  # number of skipped steps in all, and in a row up to now

    @property
    def skipped_steps(self) -> int:
        """Number of steps that changed no weights, because a gradient was not finite. Waits for the device."""
        return int(self._skipped[0])

    @property
    def skipped_in_a_row(self) -> int:
        return int(self._skipped[1])

    def return_to_best(self) -> None:
        """Replace the current and the averaged weights by the best weights kept so far."""
        for network in (self.vae, self.averaged):
            network.load_state_dict({**network.state_dict(), **self.best})

    def to_store(self) -> VAE:
        """The network to store after training, with the best averaged weights if `keep` was called, else the last."""
        if self.best:
            self.averaged.load_state_dict({**self.averaged.state_dict(), **self.best})
        return self.averaged

    def tensors(self) -> dict[str, Tensor]:
        return {**super().tensors(), "skipped": self._skipped}

    def step(self, images: Tensor, step: int) -> Elbo:
        """Update the weights by one batch, uint8 (n, height, width, channels). Returns its ELBO before the update."""
        config = self.config
        x = self._input(images, step)
        noise = schedule.noise(config.seed, step, len(x), self.vae.config.latent_dim).to(self.device)
        noise *= self.noise_scale
        self.vae.train()
        with autocast(self.device, config.precision):
            elbo = evaluate_elbo(self.vae, x, self.vae.encode(x), noise, None)
        loss = (elbo.reconstruction + schedule.beta(config, step, self.stage) * elbo.kl).mean()
        if config.optimizer != "rmsprop":
            loss = loss / self.vae.config.dimensions  # so that one threshold of gradient clipping suits all image sizes
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(step)
        return elbo

    def _input(self, images: Tensor, step: int) -> Tensor:
        config, images = self.config, images.to(self.device)
        position = (config.seed, step, len(images))
        if config.shift:
            share = schedule.shifted_share(step, self.stage)
            images = augment.shifted(
                images, schedule.shifts(*position, augment.farthest(config.shift, images), share).to(self.device)
            )
        x = as_float_tensor(images)
        if config.jitter:
            x = augment.jittered(x, schedule.jitters(*position, config.jitter).to(self.device))
        if config.flip:
            x = augment.mirrored(x, schedule.flips(*position).to(self.device))
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _update(self, step: int) -> None:
        norm = nn.utils.clip_grad_norm_(self.optimizer.parameters, self.config.clip or float("inf"))
        skip = (~norm.isfinite()).float()
        self.optimizer.step(schedule.learning_rate(self.config, step, self.stage), skip)
        self._skipped.copy_(torch.stack([self._skipped[0] + skip, (self._skipped[1] + 1) * skip]))
        self.average(schedule.ema_decay(self.config.ema, step))

    @torch.no_grad()
    def evaluated(self, train: Dataset, held_out: Dataset | None = None) -> VAE:
        """The network with averaged weights, in eval mode, with batch statistics and sigma computed anew.

        Batch norm's statistics come from SETTLING_IMAGES training images (as in Izmailov et al. 2018, section 3.2),
        because those of the current weights do not fit averaged ones; they are augmented as at the end of the training,
        in batches of about one size, since all batches weigh the same. The likelihood's sigma comes from held-out
        images if there are any, because the reconstruction error of memorised training images is far too small.
        """
        some = train.take(schedule.order(self.config.seed, 0, len(train))[:SETTLING_IMAGES])
        norms = [module for module in self.averaged.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # None makes the running statistics a plain mean over the batches
            norm.train()
        if norms:
            with autocast(self.device, self.config.precision):
                batches = some.chunk(math.ceil(len(some) / _SETTLING_BATCH))
                draw_errors(self.averaged, [self._input(x, self.stage.end) for x in batches], self.noise_scale)
        self.averaged.eval()
        if self.averaged.likelihood.has_sigma:
            settling = held_out.spread(SETTLING_IMAGES) if held_out else Dataset.from_images(some)
            self.averaged.set_sigma(draw_errors(self.averaged, settling.floats(), self.noise_scale).mean())
        return self.averaged


def untrained(model: ModelConfig, seed: int) -> VAE:
    """A VAE with random initial weights, the same for the same seed; the global random state is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(model)
