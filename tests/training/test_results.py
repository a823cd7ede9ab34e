"""The card that training writes beside a model."""

from dataclasses import replace

from latentcli.storage.history import Metrics, TrainingSummary
from latentcli.training.results import model_card
from tests.conftest import TINY

METRICS = Metrics(20, 900.0, 800.0, 100.0, 25.0, 4, 5.0)
SUMMARY = TrainingSummary(
    images=380, held_out_images=20, steps=100, epochs=20, seconds=60, beta=1, learning_rate=2e-3, held_out=METRICS
)


def test_the_card_says_what_was_selected_on_the_images_that_it_reports():
    card = model_card("faces", TINY, replace(SUMMARY, kept_epoch=0))
    assert "Selected on these images: the epoch whose weights are kept; so they flatter it a little." in card


def test_a_card_of_the_last_weights_speaks_of_no_selection():
    assert "Selected" not in model_card("faces", TINY, SUMMARY)
