"""Losses as modules: torch's classes, options, and weights as buffers."""

from __future__ import annotations

import importlib
import inspect
import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, ops
from chainrule.nn import loss
from tests_losses import COUNTS, HARD, POSITIVE, SIGNS, A, B, P, T

LABELS = np.array([0, 2, 1, 1])
W = np.array([1.0, 2.0, 0.5])
LOGP = np.log(P)

#: Inputs, and options that change the value, of every class.
CASES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "BCELoss": ((P, T), {"weight": W}),
    "BCEWithLogitsLoss": ((A, T), {"weight": W, "pos_weight": W}),
    "CategoricalCrossEntropyLoss": ((P, LABELS), {"weight": W, "label_smoothing": 0.1}),
    "CosineEmbeddingLoss": ((A, B, SIGNS[:, 0]), {"margin": -0.5}),
    "CrossEntropyLoss": ((A, LABELS), {"weight": W, "label_smoothing": 0.1, "ignore_index": 1}),
    "FocalLoss": ((A, LABELS), {"alpha": W, "gamma": 1.0}),
    "GammaLoss": ((A, POSITIVE), {"deviance": True}),
    "GaussianNLLLoss": ((A, B, P), {"full": True, "eps": 0.5}),
    "HalfSquaredError": ((A, B), {}),
    "HingeEmbeddingLoss": ((A, SIGNS), {"margin": 2.0}),
    "HingeLoss": ((A, SIGNS), {"squared": True}),
    "HuberLoss": ((A, B), {"delta": 0.5}),
    "KLDivLoss": ((LOGP, np.log(T)), {"log_target": True}),
    "L1Loss": ((A, B), {}),
    "LogCoshLoss": ((A, B), {}),
    "MSELoss": ((A, B), {}),
    "MarginRankingLoss": ((A, B, SIGNS), {"margin": 1.0}),
    "MultiLabelSoftMarginLoss": ((A, T), {"weight": W}),
    "MultiMarginLoss": ((A, LABELS), {"p": 2, "margin": 0.5, "weight": W}),
    "NLLLoss": ((LOGP, LABELS), {"weight": W, "ignore_index": 1}),
    "PoissonNLLLoss": ((POSITIVE, COUNTS), {"log_input": False, "full": True, "eps": 0.1}),
    "QuantileLoss": ((A, B), {"tau": 0.9}),
    "SigmoidFocalLoss": ((A, HARD), {"alpha": None, "gamma": 1.0}),
    "SmoothL1Loss": ((A, B), {"beta": 0.5}),
    "SoftMarginLoss": ((A, SIGNS), {}),
    "TripletMarginLoss": ((A, B, P), {"margin": 2.0, "p": 1.0, "eps": 0.1, "swap": True}),
    "TweedieLoss": ((A, COUNTS), {"power": 1.2, "deviance": True}),
}


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    try:
        return importlib.import_module("torch")
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("the oracle torch is absent in CI")
        pytest.skip("the oracle torch is absent")


def test_every_loss_is_here() -> None:
    assert set(CASES) == set(loss.__all__)
    known = {getattr(loss, name).function for name in loss.__all__}
    from_notes = {"kl_divergence", "distribution_cross_entropy"}  # of two distributions
    assert known == set(ops.loss.__all__) - from_notes


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # torch, of its own KLDivLoss
@pytest.mark.parametrize("name", CASES)
def test_values_are_torchs_with_every_option(torch: Any, name: str) -> None:
    theirs = getattr(torch.nn, name, None)
    inputs, options = CASES[name]
    cls = getattr(nn, name)
    for more in ({}, options, {"reduction": "sum"}, {"reduction": "none", **options}):
        if name == "KLDivLoss":
            inputs = (LOGP, np.log(T) if "log_target" in more else T)
        layer = cls(**more)
        value = layer(*inputs)
        kwargs = {k: v for k, v in more.items() if k != "reduction"}
        direct = getattr(ops, cls.function)(*inputs, reduction=layer.reduction, **kwargs)
        np.testing.assert_array_equal(value, direct)
        if theirs is not None:
            converted = {
                k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in more.items()
            }
            wanted = theirs(**converted)(*[torch.tensor(a) for a in inputs])
            np.testing.assert_allclose(value, wanted.numpy(), rtol=1e-11)
    if options and name != "KLDivLoss":  # whose option is another form of the target
        assert not np.allclose(cls()(*inputs), cls(**options)(*inputs))


@pytest.mark.parametrize("name", CASES)
def test_options_are_those_of_the_function_and_so_are_their_defaults(name: str) -> None:
    cls = getattr(nn, name)
    function = inspect.signature(getattr(ops, cls.function)).parameters
    for key, p in inspect.signature(cls).parameters.items():
        assert p.default == function[key].default, key


def test_weights_are_buffers() -> None:
    layer = nn.CrossEntropyLoss(weight=[1, 2, 3])
    assert layer.state_dict()["weight"].dtype == np.float32
    layer.load_state_dict({"weight": np.array([3.0, 2.0, 1.0], np.float32)})
    wanted = ops.cross_entropy(A, LABELS, weight=np.array([3.0, 2.0, 1.0]))
    np.testing.assert_allclose(layer(A, LABELS), wanted)
    assert nn.CrossEntropyLoss().state_dict() == {}
    assert layer.double().state_dict()["weight"].dtype == np.float64


def test_a_loss_has_gradients_and_prints_itself() -> None:
    x = cr.tensor(A, requires_grad=True)
    nn.HuberLoss(delta=0.5)(x, B).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.clip(A - B, -0.5, 0.5) / A.size)
    assert repr(nn.HuberLoss(reduction="sum")) == "HuberLoss(reduction='sum', delta=1.0)"
    assert repr(nn.MSELoss()) == "MSELoss()"
    assert repr(nn.MultiMarginLoss(weight=W)) == "MultiMarginLoss(p=1, margin=1.0, weight)"
    with pytest.raises(ValueError, match="unknown reduction 'avg'"):
        nn.MSELoss(reduction="avg")


def test_a_network_that_was_given_a_loss_is_saved_with_it() -> None:
    class Net(nn.Module):
        def __init__(self, criterion: Any) -> None:
            self.criterion = criterion
            self.out = nn.Dense(3, 1)

    net = Net(nn.HuberLoss(delta=0.25))
    again = nn.build(net.architecture(), classes=[Net])
    assert repr(again.criterion) == "HuberLoss(delta=0.25)"
