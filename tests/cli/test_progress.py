"""The lines per epoch, the bar, and what a checkpoint remembers of a run."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from chainrule.array.errors import DataError
from chainrule.cli.progress import Progress
from chainrule.nn import Dense
from chainrule.train.trainer import Trainer


def fit(progress: Progress) -> None:
    x = np.ones((10, 2), np.float32)
    trainer = Trainer(Dense(2, 2), callbacks=[progress], seed=0)
    trainer.fit((x, np.arange(10) % 2), epochs=3, batch_size=5, verbose=False)


def test_a_line_per_epoch() -> None:
    out = io.StringIO()
    fit(Progress(out, ["loss", "accuracy", "val_loss"], 3, 2, {}))
    head, *lines = out.getvalue().splitlines()
    assert head.split() == ["epoch", "loss", "accuracy", "val", "loss", "seconds"]
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert len({len(line) for line in [head, *lines]}) == 1


def test_nothing_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    fit(Progress(None, ["loss"], 3, 2, {}))
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    out = io.StringIO()
    fit(Progress(out, ["loss"], 3, 2, {}))
    assert "6/6 steps" in screen.getvalue() or "0/6 steps" in screen.getvalue()
    assert len(out.getvalue().splitlines()) == 4


def test_a_checkpoint_of_another_run_is_noticed() -> None:
    values, arrays = Progress(None, [], 1, 1, {"data": "abc", "seed": 0}).state()
    Progress(None, [], 1, 1, {"data": "abc", "seed": 0}).load_state(values, arrays)
    with pytest.raises(DataError, match="its data was abc, here it is xyz"):
        Progress(None, [], 1, 1, {"data": "xyz", "seed": 0}).load_state(values, arrays)
