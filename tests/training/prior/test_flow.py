"""The fit of a flow prior: what it learns, how it is resumed, and its loss beside that of a mixture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from latentcli.model.flow import FlowPrior
from latentcli.model.prior import MixturePrior
from latentcli.model.vae import Posterior
from latentcli.storage import tensorfile
from latentcli.training import loop
from latentcli.training.checkpoint import KIND
from latentcli.training.prior import flow, repair
from latentcli.training.prior.flow import Encoded, FlowTraining
from latentcli.training.prior.mixture import fit
from tests.conftest import close

NOWHERE = Path("nowhere")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A small network that learns fast."""
    for name, value in (("_WIDTH", 64), ("_HIDDEN", 128), ("_BLOCKS", 2), ("_RATE", 5e-3), ("_MEASURED", 512)):
        monkeypatch.setattr(flow, name, value)
    monkeypatch.setattr(repair, "_PAIRS", 500)


def two_heaps(count, seed=0):
    """Posteriors around -3 and 3 along the first of three dimensions; the last carries nothing."""
    generator = torch.Generator().manual_seed(seed)
    mean = 0.3 * torch.randn(count, 3, generator=generator)
    mean[: count // 2, 0] += 3
    mean[count // 2 :, 0] -= 3
    mean[:, 2] = 0
    logvar = torch.full_like(mean, -3.0)
    logvar[:, 2] = 0
    return Posterior(mean, logvar)


def gaussian(posterior):
    """One Gaussian, as a mixture."""
    spread = torch.cov(posterior.mean.T) + torch.diag(posterior.logvar.exp().mean(dim=0))
    mean = posterior.mean.mean(dim=0, keepdim=True).numpy()
    return MixturePrior(np.ones(1, dtype=np.float32), mean, torch.linalg.cholesky(spread)[None].numpy())


def started(seed=0, steps=250, start=gaussian, path=NOWHERE):
    heaps = two_heaps(400)
    alone = Encoded.without_labels
    return FlowTraining(alone(heaps), alone(two_heaps(200, seed=1)), start(heaps), seed, steps, path)


def all_steps(training):
    """Make them; the checkpoint of a training that nobody interrupts is left out."""
    training.save = lambda: None
    list(loop.run(training))


def labelled(posterior):
    """Which heap each is in, as parts."""
    return Encoded(posterior, torch.stack([posterior.mean[:, 0] > 0, posterior.mean[:, 0] < 0], dim=1).float())


def test_samples_are_drawn_from_a_part():
    heaps = two_heaps(400)
    training = FlowTraining(labelled(heaps), labelled(two_heaps(200, seed=1)), gaussian(heaps), 0, 300, NOWHERE)
    all_steps(training)
    prior = training.flow()[0]
    assert prior.labels == 2
    shares = [(replace(prior, like=like).sample(range(300), 1.0)[:, 0] > 0).mean() for like in ((0,), (1,), ())]
    assert shares[0] > 0.97
    assert shares[1] < 0.03
    assert 0.35 < shares[2] < 0.65


def test_the_flow_runs_where_what_changes_pictures_most_varies_most():
    """The first of two dimensions changes pictures a hundred times as much as the second, by their posteriors."""
    mean = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    logvar = torch.tensor([-8.0, -3.4]).expand(500, 2)
    heaps = Encoded.without_labels(Posterior(mean, logvar))
    prior = FlowTraining(heaps, heaps, gaussian(heaps.posterior), 0, 1, NOWHERE).flow()[0]
    x = (mean.numpy() - prior.mean) @ np.linalg.pinv(prior.basis)
    changing = np.abs(np.corrcoef(x, mean.numpy(), rowvar=False)[:2, 2]).argmax()
    assert x[:, changing].std() / x[:, 1 - changing].std() == pytest.approx(np.exp((8 - 3.4) / 4), rel=0.1)


def trained(steps):
    training = started(steps=steps)
    before = training.held_out_loss()
    all_steps(training)
    return training, before


def test_an_untrained_flow_is_the_gaussian_of_the_latents():
    training, _ = trained(0)
    z = training.flow()[0].sample(range(4000), 1.0)
    heaps = two_heaps(400)
    assert np.abs(z.mean(axis=0)).max() < 0.15
    expected = torch.cov(heaps.mean.T) + torch.diag(heaps.logvar.exp().mean(dim=0))
    assert np.abs(np.cov(z, rowvar=False) - expected.numpy()).max() < 0.5


def test_a_trained_flow_finds_the_heaps():
    training, before = trained(300)
    assert training.held_out_loss() < before
    z = training.flow()[0].sample(range(1000), 1.0)
    assert (np.abs(np.abs(z[:, 0]) - 3) < 1.5).mean() > 0.9
    assert (z[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.1)
    assert z[:, 2].std() == pytest.approx(1, abs=0.1)  # what carries nothing stays standard


def test_a_seed_gives_the_same_latent_in_any_company():
    prior = trained(20)[0].flow()[0]
    close(prior.sample([7], 0.9)[0], prior.sample(range(20), 0.9)[7], atol=1e-5)


def test_an_untrained_flow_draws_from_its_mixture():
    training = started(steps=0, start=lambda heaps: fit(heaps, seed=0))
    assert training.held_out_loss() < 0.9 * started(steps=0).held_out_loss()
    z = training.flow()[0].sample(range(1000), 1.0)
    assert (np.abs(np.abs(z[:, 0]) - 3) < 1.5).mean() > 0.97


def test_the_prior_is_the_flow_where_it_gains_and_else_the_mixture():
    kept, fit = trained(100)[0].chosen()
    assert isinstance(kept, FlowPrior)
    assert fit.held_out_loss < fit.mixture_loss
    assert fit.flow_distance < fit.mixture_distance
    assert isinstance(started(steps=0).chosen()[0], MixturePrior)


def test_a_flow_whose_samples_are_unlike_held_out_latents_is_left_out(monkeypatch):
    """However low its loss is: here samples are those of a flow that starts from noise of ten times the scale."""
    training, _ = trained(100)
    draw = FlowPrior.sample
    monkeypatch.setattr(FlowPrior, "sample", lambda prior, seeds, temperature: draw(prior, seeds, 10 * temperature))
    kept, fit = training.chosen()
    assert isinstance(kept, MixturePrior)
    assert fit.held_out_loss < fit.mixture_loss


def test_the_labels_that_a_flow_is_given_count_as_a_gain():
    """The mixture of both heaps draws as well as the flow, but not from one heap."""
    heaps = two_heaps(400)
    training = FlowTraining(labelled(heaps), labelled(two_heaps(200, seed=1)), fit(heaps, seed=0), 0, 200, NOWHERE)
    all_steps(training)
    _, found = training.chosen()
    assert found.flow_distance < 0.5 * found.mixture_distance


def test_samples_have_the_mean_and_variances_of_the_training_latents():
    """Already after few steps, when the velocity is far from learned."""
    training, _ = trained(60)
    z = training.flow()[0].sample(range(4000), 1.0)
    heaps = two_heaps(400)
    expected = torch.cov(heaps.mean.T) + torch.diag(heaps.logvar.exp().mean(dim=0))
    close(z.mean(axis=0), heaps.mean.mean(dim=0).numpy(), atol=0.15)
    ratio = np.diag(np.cov(z, rowvar=False))[:2] / np.diag(expected.numpy())[:2]
    close(ratio, np.ones(2), atol=0.06)


def interrupted(path):
    """A training that was stopped at step 100 and saved."""
    training = started(path=path)
    list(loop.run(training, lambda: training.position.step == 100))
    return training


def same(one, other):
    return all((one.learner.best[name] == tensor).all() for name, tensor in other.learner.best.items())


def test_an_interrupted_fit_goes_on_exactly(tmp_path):
    whole = started()
    all_steps(whole)
    interrupted(tmp_path / "file")
    again = started(path=tmp_path / "file")
    assert again.position.step == 100
    all_steps(again)
    assert same(again, whole)
    assert again.position.best_loss == whole.position.best_loss


def test_a_file_of_another_fit_or_a_damaged_one_is_left_alone(tmp_path):
    path = tmp_path / "file"
    interrupted(path)
    other = started(seed=1, path=path)
    header, arrays = tensorfile.read(path, KIND)
    header.pop("sha256")
    tensorfile.write(path, KIND, header, arrays | {"best.last.bias": np.zeros(7, dtype=np.float32)})
    spoiled = started(path=path)
    path.write_bytes(b"text")
    damaged = started(path=path)
    assert [training.position.step for training in (other, spoiled, damaged)] == [0, 0, 0]
    assert same(spoiled, started())
    assert same(damaged, started())


def test_held_out_latents_that_are_sorted_by_class_are_measured_from_all_classes():
    assert flow._spread(flow._MEASURED * 10).max() > 9 * flow._MEASURED
    assert flow._spread(3)[:4].tolist() == [0, 1, 2, 0]
