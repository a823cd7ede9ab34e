"""q(z|x), the Gaussian that the encoder answers with."""

from dataclasses import dataclass

from torch import Tensor

_LOGVAR_RANGE = (-12.0, 6.0)  # keeps exp() finite when training goes astray


@dataclass(frozen=True, slots=True)
class Posterior:
    """Means and log-variances, each (n, latent_dim) float32; logvar is the natural log of the variance."""

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_head(cls, mean: Tensor, logvar: Tensor) -> "Posterior":
        """From the encoder's output of any precision; the log-variance is clamped to [-12, 6]."""
        return cls(mean.float(), logvar.float().clamp(*_LOGVAR_RANGE))

    def draw(self, noise: Tensor) -> Tensor:
        """z = mean + sigma * noise, with noise ~ N(0, I) of (n, latent_dim): Kingma & Welling 2014, eq. 10."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def kl_per_dimension(self) -> Tensor:
        """KL(q(z_j|x) || N(0, 1)) in nats: (n, latent_dim). Kingma & Welling 2014, appendix B."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) in nats, one value per image: (n,)."""
        return self.kl_per_dimension().sum(dim=1)
