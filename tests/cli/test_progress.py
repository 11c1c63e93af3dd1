"""The lines per epoch, the bar, and what a checkpoint remembers of a run."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from chainrule.array.errors import DataError
from chainrule.cli.progress import MemberProgress, Progress, how_members_ended
from chainrule.nn import Dense
from chainrule.train.history import History
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


def test_one_of_several_networks_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, out = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    for k in (1, 2):
        fit(MemberProgress(out, ["loss", "val_loss"], 3, 2, k, 2))
    head, *lines = out.getvalue().splitlines()
    assert head.split() == ["network", "kept", "epoch", "loss", "val", "loss", "seconds"]
    assert [line.split()[:6] for line in lines] == [
        ["1", "of", "2", "3", "of", "3"], ["2", "of", "2", "3", "of", "3"],
    ]  # fmt: skip
    assert len({len(line) for line in [head, *lines]}) == 1
    assert "network 2 of 2" in screen.getvalue()
    out = io.StringIO()
    no_epoch = MemberProgress(out, ["loss"], 3, 2, 2, 5)
    trainer = Trainer(Dense(2, 2), callbacks=[no_epoch], seed=0)
    trainer.fit((np.ones((4, 2), np.float32), np.arange(4) % 2), epochs=0, verbose=False)
    assert out.getvalue().split()[:4] == ["2", "of", "5", "none"]


def test_the_end_of_several_networks() -> None:
    histories = [History([{"loss": 1.0}] * 3), History([{"loss": 1.0}] * 4)]
    judged = {"loss": 0.25, "r2": 0.5, "rows": 1234}
    text = how_members_ended(histories, 2, "epochs", judged, turns=True)
    assert text.startswith("2 networks, 7 epochs in 0.00 s. The 1,234 rows held out, judged each")
    assert text.endswith("by the network that had not seen it: loss 0.2500, R² 0.5000.")
    text = how_members_ended(histories, 5, "time limit", judged, turns=False)
    assert "2 of 5 networks" in text
    assert "s, time limit." in text
    assert "by their mean" in text
    assert how_members_ended(histories, 2, "epochs", {}, turns=True).endswith("s.")


def test_a_checkpoint_of_another_run_is_noticed() -> None:
    values, arrays = Progress(None, [], 1, 1, {"data": "abc", "seed": 0}).state()
    Progress(None, [], 1, 1, {"data": "abc", "seed": 0}).load_state(values, arrays)
    with pytest.raises(DataError, match="its data was abc, here it is xyz"):
        Progress(None, [], 1, 1, {"data": "xyz", "seed": 0}).load_state(values, arrays)
