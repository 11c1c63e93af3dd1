"""Embeddings: categories as vectors that are learned."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.array.random import default_stream
from chainrule.autograd.context import describe, state
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter

__all__ = ["EmbedColumns", "Embedding"]

#: Up to here float32 has every whole number.
_MOST_CODES = 2**24


class Embedding(Module):
    """``y = W[x]``: for each integer code the row of a table that is learned.

    Arguments:
        num_embeddings: rows of the table; codes are 0 to num_embeddings - 1.
        embedding_dim: numbers per row.
        padding_idx: a row, counted from the end if negative, that begins as zeros and gets no
            gradient: for places that hold nothing. As in torch.

    Attributes:
        weight: ``(num_embeddings, embedding_dim)``, torch's layout; initially N(0, 1).

    Shapes: x holds integers of any shape, y is ``(*x.shape, embedding_dim)``. Codes among numbers,
    as whole floats, are for `EmbedColumns`.

    Raises:
        DataError: when called with a code out of range; it names the layer, the code and its place.
        TypeError: when called with codes that are no integers.

    >>> import chainrule as cr, numpy as np
    >>> layer = cr.nn.Embedding(10, 3, padding_idx=0)
    >>> layer, layer(np.array([[4, 0]])).shape
    (Embedding(10 -> 3, padding_idx=0), (1, 2, 3))
    >>> layer(np.array([0]))
    tensor([[0., 0., 0.]], from=embedding)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        self.num_embeddings = _count("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = _count("Embedding", "embedding_dim", embedding_dim)
        values = _normal("Embedding", (self.num_embeddings, self.embedding_dim), 1.0)
        self.padding_idx: int | None = None
        if padding_idx is not None:
            k = operator.index(padding_idx)
            if not -self.num_embeddings <= k < self.num_embeddings:
                raise ValueError(
                    f"Embedding: padding_idx {k} is no row of a table of {self.num_embeddings}"
                )
            self.padding_idx = k % self.num_embeddings
            values[self.padding_idx] = 0
        self.weight = Parameter(values)

    def forward(self, x: Any) -> Any:
        return ops.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings} -> {self.embedding_dim}{padding}"


class Tables(Module):
    """Tables by number; it computes nothing."""

    def fill(self, tables: Iterable[Parameter]) -> None:
        for k, table in enumerate(tables):
            self.register_parameter(str(k), table)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self._parameters)

    def extra_repr(self) -> str:
        return ", ".join(" x ".join(map(str, p.shape)) for p in self._parameters.values())


class EmbedColumns(Module):
    """The categories among the columns of a table become vectors; its numbers stay.

    ``y = [x_1 … x_m, W_1[x_{m+1}], …, W_k[x_{m+k}]]``: the first layer of a network on rows that
    hold m numbers and then k codes of categories, as whole floats. `TablePreprocessor` makes such
    rows.

    Arguments:
        width: columns of x, m + k.
        embeddings: for each of the last columns ``(categories, dim)``: codes are 0 to categories -
            1 (at most 2²⁴, because float32 has no more whole numbers), and dim numbers stand for
            each. An empty list is the identity.

    Attributes:
        weights: the tables ``weights.0`` …, each ``(categories, dim)``.

    Initial values: ``N(0, 1/dim)``, deviation 1/√dim: a vector has length 1, about, and so counts
    in the next layer as much as one number of mean 0 and deviation 1, whatever its dim.

    Shapes: x is ``(n, width)``, y ``(n, width - k + Σ dim)``. An array is cast to the layer's type.
    Gradients by the numbers are passed on, those by the codes are zero.

    Raises:
        DataError: when called with a code that is not whole or out of range; it names the layer,
            the column, the row and the value.
        ShapeError: when called with an x that does not fit.
        TypeError: when called with a tensor of another floating type.

    >>> import chainrule as cr, numpy as np
    >>> layer = cr.nn.EmbedColumns(4, [(10, 3), (2, 1)])
    >>> layer, layer(np.array([[0.5, -1.0, 9.0, 1.0]])).shape
    (EmbedColumns(4 -> 6, 2 embeddings), (1, 6))
    >>> sorted(layer.state_dict())
    ['weights.0', 'weights.1']
    """

    def __init__(self, width: int, embeddings: Iterable[tuple[int, int]]) -> None:
        sizes = [_pair(k, pair) for k, pair in enumerate(embeddings)]
        self.width = _count("EmbedColumns", "width", width)
        if len(sizes) > self.width:
            columns = "1 column" if self.width == 1 else f"{self.width} columns"
            raise ValueError(f"EmbedColumns: {len(sizes)} embeddings for {columns}")
        self.out_features = self.width + sum(dim - 1 for _, dim in sizes)
        self.weights = Tables()
        self.weights.fill(Parameter(_normal("EmbedColumns", s, s[1] ** -0.5)) for s in sizes)
        if type(self).__init__ is EmbedColumns.__init__:
            self._arguments = ((self.width, sizes), {})

    def forward(self, x: Any) -> Any:
        shape = tuple(x.shape)
        if len(shape) != 2 or shape[1] != self.width:
            raise ShapeError(self._misfit(shape))
        return ops.embed_columns(x, list(self.weights))

    def _misfit(self, shape: tuple[int, ...]) -> str:
        k = len(self.weights)
        fix = ""
        if len(shape) == 1 and shape[0] == self.width:
            fix = "; a single sample needs a batch axis: x[None]"
        elif len(shape) == 2:
            fix = f"; the last {k} columns are those of the embeddings, the numbers stand before"
        who = describe(state.frame) or repr(self)
        return f"{who}: expected x: (n, {self.width}), got {shape}{fix}"

    def extra_repr(self) -> str:
        k = len(self.weights)
        return f"{self.width} -> {self.out_features}, {k} embedding{'' if k == 1 else 's'}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _pair(k: int, pair: Any) -> tuple[int, int]:
    """(categories, dim) of the k-th embedding."""
    try:
        categories, dim = pair
    except (TypeError, ValueError):
        raise TypeError(
            f"EmbedColumns: embeddings are pairs (categories, dim), got {pair!r}"
        ) from None
    categories = _count("EmbedColumns", f"categories of embedding {k}", categories)
    if categories > _MOST_CODES:
        raise ValueError(
            f"EmbedColumns: embedding {k} has {categories:,} categories; float32 holds "
            f"{_MOST_CODES:,} different codes. Join the rare ones"
        )
    return categories, _count("EmbedColumns", f"dim of embedding {k}", dim)


def _count(who: str, name: str, value: Any) -> int:
    try:
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"{who}: {name} is a whole number, got {value!r}") from None
    if n < 1 or isinstance(value, bool):
        raise ValueError(f"{who}: {name} is at least 1, got {value!r}")
    return n


def _normal(who: str, shape: tuple[int, int], std: float) -> Any:
    return default_stream().normal(f"init/{who}", shape, std=std)
