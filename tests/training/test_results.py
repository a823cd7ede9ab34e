"""The card that training writes beside a model, and the latents that its prior is fitted to."""

from dataclasses import replace

import pytest
import torch

from latentcli.data.dataset import Dataset
from latentcli.model.vae import VAE
from latentcli.storage.history import Metrics, PriorFit, TrainingSummary
from latentcli.training import results
from latentcli.training.results import Trained, model_card
from tests.conftest import TINY, close, fit_by_chance

METRICS = Metrics(20, 900.0, 800.0, 100.0, 25.0, 4, 5.0)
SUMMARY = TrainingSummary(
    images=380, held_out_images=20, steps=100, epochs=20, seconds=60, beta=1, learning_rate=2e-3, held_out=METRICS
)


def test_the_card_says_what_was_selected_on_the_images_that_it_reports():
    card = model_card("faces", TINY, replace(SUMMARY, kept_epoch=0))
    assert "Selected on these images: the epoch whose weights are kept; so they flatter it a little." in card


def test_a_card_of_the_last_weights_speaks_of_no_selection():
    assert "Selected" not in model_card("faces", TINY, SUMMARY)


@pytest.mark.parametrize(("distance", "kept"), [(0.01, "a flow."), (0.03, "a mixture, no worse than a flow.")])
def test_the_card_says_how_the_flow_compares_with_the_mixture(distance, kept):
    losses = {"mixture_loss": 1.414, "train_loss": 0.7, "held_out_loss": 0.9, "own_loss": 0.8}
    fit = PriorFit(mixture_distance=0.02, flow_distance=distance, **losses)
    card = model_card("emoji", TINY, replace(SUMMARY, prior=fit))
    assert f"| prior | {kept} Error of the flow's velocity 0.700 on training latents, 0.900 on held-out ones" in card
    assert f"energy distance of samples to held-out latents {distance:.4f} (mixture 0.0200)" in card


def test_mirrored_images_are_encoded_as_well_where_training_mirrored(tmp_path):
    torch.manual_seed(0)
    vae = VAE(TINY).eval()
    fit_by_chance(vae)
    images = Dataset.from_images(torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8))
    run = Trained(tmp_path, vae, images, None, replace(SUMMARY, flip=True), [])
    with torch.inference_mode():
        found = results._encoded(run, images, of_held_out=False).posterior.mean
        x = next(images.floats())
        close(found.numpy(), vae.encode(torch.cat([x, x.flip(3)])).mean.numpy(), atol=1e-5)
