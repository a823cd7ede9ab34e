"""One training step, and the state it changes: weights, their average, the optimizer."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from latentcli.config import ModelConfig, TrainConfig
from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.model.device import autocast, prepare
from latentcli.model.metrics import draw_error
from latentcli.model.objective import Elbo, training_elbo
from latentcli.model.vae import VAE
from latentcli.training import augment, schedule
from latentcli.training.optimizer import Optimizer

FIXED = "linear."  # the names of what training does not change
SETTLING_IMAGES = 512  # images that batch statistics and sigma are taken from


class TrainState:
    """A network being trained. The images, noise and rates of a step depend on its number alone."""

    def __init__(self, vae: VAE, config: TrainConfig, stage: schedule.Stage, device: torch.device) -> None:
        self.config = config
        self.stage = stage
        self.device = device
        self.vae = prepare(vae, device)
        self.averaged = copy.deepcopy(self.vae).eval().requires_grad_(False)  # what is evaluated and stored
        self.averaged.linear = self.vae.linear  # nothing changes it
        self.best: dict[str, Tensor] = {}  # state of `averaged` where it was best on held-out images, if that is kept
        self.optimizer = Optimizer(self.vae, config)
        self.noise_scale = float(config.beta > 0)  # an autoencoder draws nothing
        self._skipped = torch.zeros(2, device=device)  # steps: in all, and in a row

    @property
    def skipped_steps(self) -> int:
        """Steps whose gradients were not finite, which changed nothing. Reading it waits for the device."""
        return int(self._skipped[0])

    @property
    def skipped_in_a_row(self) -> int:
        return int(self._skipped[1])

    def resume(self, skipped_steps: int) -> None:
        self._skipped[0] = skipped_steps

    def keep(self) -> None:
        """Remember the averaged weights as the best."""
        self.best = {name: tensor.clone() for name, tensor in changing(self.averaged.state_dict()).items()}

    def return_to_best(self) -> None:
        """Train on from the best weights."""
        for network in (self.vae, self.averaged):
            network.load_state_dict({**network.state_dict(), **self.best})

    def to_store(self) -> VAE:
        """The network at the end of a run: the best one, where that was kept."""
        if self.best:
            self.averaged.load_state_dict({**self.averaged.state_dict(), **self.best})
        return self.averaged

    def step(self, images: Tensor, step: int) -> Elbo:
        """Learn from images, uint8 (n, height, width, channels); the ELBO is that before the update."""
        config = self.config
        x = self._input(images, step)
        noise = schedule.noise(config.seed, step, len(x), self.vae.config.latent_dim).to(self.device)
        noise *= self.noise_scale
        self.vae.train()
        with autocast(self.device, config.precision):
            elbo = training_elbo(self.vae, x, noise, schedule.beta(config, step, self.stage))
        loss = elbo.loss.mean()
        if config.optimizer != "rmsprop":
            loss = loss / self.vae.config.dimensions  # one clipping threshold for all sizes
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
        self._skipped = torch.stack([self._skipped[0] + skip, (self._skipped[1] + 1) * skip])
        rate = 1 - schedule.ema_decay(self.config, step)
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.vae.parameters()), rate)

    @torch.no_grad()
    def evaluated(self, train: Dataset, held_out: Dataset | None = None) -> VAE:
        """The network that is measured and stored, in eval mode: averaged weights, and what follows from them.

        Batch norm's statistics are taken from some of the training images (as in Izmailov et al. 2018, section 3.2):
        those of the current weights would not fit. The likelihood's sigma is that of held-out images where there are
        any, because the error on images that are learned by heart is far too small.
        """
        some = Dataset.from_images(train.take(schedule.order(self.config.seed, 0, len(train))[:SETTLING_IMAGES]))
        norms = [module for module in self.averaged.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
            norm.train()
        if norms:
            with autocast(self.device, self.config.precision):
                draw_error(self.averaged, some.floats(), self.noise_scale)
        self.averaged.eval()
        if self.averaged.likelihood.has_sigma:
            if held_out:
                some = held_out.spread(SETTLING_IMAGES)
            self.averaged.set_sigma(draw_error(self.averaged, some.floats(), self.noise_scale))
        return self.averaged


def changing(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that training changes: all but the linear path, which is kept once."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(FIXED)}


def untrained(model: ModelConfig, seed: int) -> VAE:
    """A network with the initial weights of this seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(model)
