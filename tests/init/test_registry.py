"""Initializers by name."""

from __future__ import annotations

import pytest

from chainrule import init


def test_every_initializer_has_its_name() -> None:
    for name in init.__all__:
        if name not in ("fans", "gain", "get"):
            assert init.get(name) is getattr(init, name)
    for name in ("fans", "gain"):
        with pytest.raises(ValueError, match=f"no initializer is called '{name}'"):
            init.get(name)


def test_a_function_is_itself() -> None:
    assert init.get(abs) is abs


def test_torch_s_names() -> None:
    torch = pytest.importorskip("torch")
    named = [n[:-1] for n in dir(torch.nn.init) if n.endswith("_") and not n.startswith("_")]
    assert len(named) > 12
    assert [n for n in named if n not in init.__all__] == []


def test_another_name_shows_the_nearest() -> None:
    with pytest.raises(ValueError, match="'orthogonl'; did you mean 'orthogonal'"):
        init.get("orthogonl")
