from pathlib import Path

import numpy as np
import pytest

from latentcli.concepts.label_source import LabelSource, origin_in_words
from latentcli.errors import UsageError

FOLDERS = {"name": "x", "positive": Path("a"), "negative": Path("b")}
TABLE = {"name": "x", "labels": Path("t.csv"), "column": "c"}


@pytest.mark.parametrize(
    "options",
    [
        FOLDERS | {"paired": True, "latents": Path("l")},
        {"name": "x", "positive": Path("a"), "augment": "blur"},
        {"folders": Path("a")},
        TABLE | {"above": 0.0, "balance_by": ["d"]},
        {"labels": Path("t.csv"), "every": True, "thresholds": ["c=1,0"]},
    ],
)
def test_each_source_stands_alone(options):
    LabelSource(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "x"}, "give `positive` DIR and `negative` DIR, or"),
        ({"name": "x", "positive": Path("a")}, "give `positive` DIR and `negative` DIR, or"),
        ({"name": "x", "negative": Path("a"), "folders": Path("b")}, "give `positive` DIR and `negative` DIR, or"),
        (FOLDERS | {"augment": "blur"}, "give `positive` DIR and `negative` DIR, or"),
        ({"folders": Path("f"), "negative": Path("b"), "augment": "blur"}, "give `positive` DIR"),
        (FOLDERS | {"folders": Path("c")}, "give `positive` DIR and `negative` DIR, or"),
        (TABLE | {"column": None}, "`labels` needs `column` NAME or `every`"),
        (FOLDERS | {"above": 0.0}, "belong to `labels`"),
        (FOLDERS | {"balance_by": ["c"]}, "belong to `labels`"),
        (TABLE | {"above": 0.5, "one": "cat"}, "or `one`, or `extremes`"),
        ({"labels": Path("t.csv"), "every": True, "above": 0.5}, "has its own `thresholds`"),
        ({"name": "x", "positive": Path("a"), "augment": "blur", "latents": Path("l")}, "`augment` takes no `latents`"),
        (TABLE | {"name": None}, "give a NAME"),
        ({"name": "x", "folders": Path("a")}, "give a NAME"),
        (TABLE | {"paired": True}, "`paired` belongs to"),
    ],
)
def test_options_that_exclude_or_need_each_other_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        LabelSource(**options)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"table": "t.csv", "column": "age", "above": 60, "below": 35.0, "from": 20}, "60 and more against 20 to 35"),
        ({"table": "t.csv", "column": "smile", "above": 0.9, "below": 0.1, "from": None}, "against 0.1 and less"),
        ({"table": "t.csv", "column": "x", "above": 0.5, "below": np.nextafter(0.5, 0)}, "0.5 and more against less"),
        ({"table": "t.csv", "column": "kind", "is": "cat"}, "kind of t.csv, cat against other texts"),
        ({"folder": "cats"}, "folder cats against the others beside it"),
        ({"positive": "with", "negative": "without"}, "with against without"),
        ({"augment": "blur=2"}, "images changed by blur=2 against the same images unchanged"),
        ({"combine": []}, ""),
        ({"table": "t.csv", "column": "age", "above": 10**400, "below": 35.0}, ""),
        ({"folder": "a\x1b[31m"}, "folder a\\x1b[31m against the others beside it"),
    ],
)
def test_a_recipe_says_where_the_labels_come_from(recipe, words):
    assert origin_in_words(recipe).endswith(words)
