"""Layers and networks: parameters and shapes; the mathematics is in `chainrule.ops`."""

from chainrule.nn.activation import (
    ELU,
    GELU,
    SELU,
    Activation,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from chainrule.nn.basic import Dropout, Flatten, Identity
from chainrule.nn.containers import ModuleDict, ModuleList, Sequential
from chainrule.nn.dense import Dense, Linear
from chainrule.nn.embedding import EmbedColumns, Embedding
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.registry import REGISTRY, build
from chainrule.nn.standardize import Standardize
from chainrule.nn.stateless import functional_call

__all__ = [
    "ELU",
    "GELU",
    "REGISTRY",
    "SELU",
    "Activation",
    "Dense",
    "Dropout",
    "EmbedColumns",
    "Embedding",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Standardize",
    "Tanh",
    "build",
    "functional_call",
]
