import pytest

from latentcli.storage.history import Metrics
from latentcli.training import early_stop
from latentcli.training.early_stop import LossCurve
from latentcli.training.schedule import Stage

STAGE = Stage(0, 1000)


def curve(losses, apart=50):
    """The curve of losses measured so many steps apart."""
    found = None
    for number, loss in enumerate(losses, start=1):
        found = LossCurve.after(found, number * apart, loss)
    return found


def test_the_best_is_the_lowest_loss():
    found = curve([9, 5, 3, 4, 8])
    assert (found.best, found.best_step, found.last) == (3, 150, 8)


def test_a_loss_that_has_risen_for_long_ends_the_run():
    risen = curve([100, 50, 0, 20, 30, 40, 50])
    assert risen.is_over(350, STAGE, patience=0.2)


def test_patience_is_a_share_of_the_steps():
    risen = curve([100, 50, 0, 20, 30, 40, 50])
    assert not risen.is_over(350, STAGE, patience=0.3)


def test_a_loss_that_stands_still_does_not_end_the_run():
    still = curve([100, 50, 0, 5, 5, 5, 5, 5, 5, 5, 5])
    assert not still.is_over(550, STAGE, patience=0.2)


def test_a_loss_that_came_back_does_not_end_the_run():
    back = curve([100, 50, 0, 60, 60, 60, 60, 60, 9])
    assert not back.is_over(450, STAGE, patience=0.2)


def test_a_short_run_is_not_shortened():
    risen = curve([100, 0, 50, 50, 50, 50], apart=10)
    assert not risen.is_over(60, Stage(0, 100), patience=0.2)


def test_a_new_stage_has_patience_of_its_own():
    risen = curve([100, 50, 0, 20, 30, 40, 50])
    assert not risen.is_over(350, Stage(300, 1300, number=2), patience=0.2)


@pytest.mark.parametrize(("beta", "expected"), [(1, 100.0), (2, 120.0), (0, 80.0)])
def test_the_loss_has_the_beta_of_training(beta, expected):
    assert early_stop.loss(Metrics(500, 100.0, 80.0, 20.0, 25.0, 16, None), beta) == expected


def test_an_autoencoder_has_no_kl():
    assert early_stop.loss(Metrics(500, None, 80.0, None, 25.0, None, None), 0) == 80.0
