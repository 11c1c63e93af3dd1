"""Free text as its commonest words."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from chainrule.data.preprocess import words as module
from chainrule.data.preprocess.words import Words

TEXT = pl.Series(
    "t", ["Good shop, the best", "the shop is BAD", "the bad weather", "best é1", None]
)


def written(encoder: Words, values: pl.Series) -> np.ndarray:
    out = np.zeros((len(values), len(encoder.names())), np.float32)
    encoder.write(encoder.read(values), out)
    return out


def test_common_words_but_not_those_in_most_rows() -> None:
    encoder = Words.fit(TEXT, 2)
    assert encoder.words == ["bad", "best", "shop"]  # "the" is in more than half
    assert encoder.names() == ["t has 'bad'", "t has 'best'", "t has 'shop'", "t length"]
    out = written(encoder, TEXT)
    assert out[:, :3].tolist() == [[0, 1, 1], [1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(out[:, 3].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(out[:, 3].std(), 1, rtol=1e-5)


def test_words_of_other_rows() -> None:
    encoder = Words.fit(TEXT, 2)
    out = written(encoder, pl.Series(["BEST best? best!", "", "zzz"]))
    assert out[:, :3].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert np.isfinite(out).all()


def test_no_more_words_than_said() -> None:
    encoder = Words.fit(
        pl.Series("t", [" ".join(f"w{k + j}" for j in range(9)) for k in range(99)]), 2
    )
    assert len(encoder.words) == 64
    nothing = Words.fit(pl.Series("t", ["!", "?"]), 2)
    assert nothing.names() == ["t length"]
    assert written(nothing, TEXT).shape == (5, 1)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Words.fit(TEXT, 2)
    monkeypatch.setattr(module, "_BLOCK", 2)
    assert Words.fit(TEXT, 2) == whole
