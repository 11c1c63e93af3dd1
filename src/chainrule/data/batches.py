"""Batches: one way to go through data in memory, on disk or arriving as a stream."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError
from chainrule.array.random import Stream
from chainrule.data.prefetch import prefetched
from chainrule.data.sources import Array, check_reiterable, is_arrays, open_pass, unpack

__all__ = ["Batch", "Batches"]

Rows = slice | npt.NDArray[np.intp]
Parts = tuple[Array, Array | None, Array | None]


class Permutes(Protocol):
    """What the order of an epoch is drawn from: :class:`chainrule.array.random.Stream`."""

    def permutation(self, path: str, n: int, step: int | None = None) -> Array: ...


@dataclass(slots=True, eq=False)
class Batch:
    """One batch of an epoch.

    Attributes:
        x: samples, ``(B, ...)``.
        y: targets, ``(B,)`` or ``(B, ...)``, or None.
        weight: sample weights, ``(B,)``, or None.
        index: the batch's place in its epoch, from 0. An interrupted epoch continues with
            ``epoch(e, start_batch=index + 1)``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> batch = next(cr.data.Batches((np.zeros((5, 2)), np.arange(5)), batch_size=2).epoch(0))
    >>> batch.x.shape, batch.y, batch.weight, batch.index
    ((2, 2), array([0, 1]), None, 0)
    """

    x: Array
    y: Array | None
    weight: Array | None
    index: int

    def __len__(self) -> int:
        return len(self.x)


class Batches:
    """Goes through data in batches, the same way for arrays, memory maps, tables and streams.

    The rows of epoch e are x[π_e(iB)], ..., x[π_e(iB + B - 1)] for batch i of size B, where the
    permutation π_e depends on the seed and on e only. So an interrupted epoch continues in its
    middle with the same batches, bit for bit (note 001, ledger row S-01, leaves the order open;
    note 000, row S-06, has the mini-batch).

    Arrays stay in their own dtype and are cast batch by batch: uint8 images take a quarter of
    their float32 size, and a memory-mapped file trains in constant memory (shuffling adds 8 bytes
    per row). Batches never share memory with each other, and what is not shuffled, transformed or
    cast is a read-only view of the source.

    Args:
        source: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, each an ndarray, ``np.memmap``,
            pandas, polars or Arrow table or column, CPU tensor, or inside the tuple a list of
            numbers; or batches of these forms from a list, an object whose ``__iter__`` starts
            over, or a function that returns an iterator; or another ``Batches``.
        batch_size: rows per batch; the last one of an epoch may have fewer. Batches that arrive
            as batches keep their own size. 32 is the customary start for small nets.
        shuffle: a new order of rows for each epoch. Off by default: evaluation and prediction
            need the order of the source.
        transform: ``transform(x, y) -> (x, y)``, or ``transform(x) -> x`` without targets, applied
            to each batch after the cast; it may write into its arguments. One that draws random
            numbers makes epochs differ between runs unless it seeds them itself.
        prefetch: how many batches a background thread prepares ahead; 0 prepares each when it is
            asked for, which is faster for arrays in memory.
        drop_last: leave out a last batch with fewer than ``batch_size`` rows.
        sample_weight: one weight per row, ``(n,)``.
        seed: chooses the orders when ``shuffle`` is on and no stream is given to :meth:`epoch`.

    Attributes:
        n_samples, n_batches: per epoch; None where the source does not tell.
        x_shape, y_shape: the shape of one sample and of one target; None where unknown or absent.
        x_dtype, y_dtype: as stored in the source, before the cast; None where unknown or absent.
        weighted: whether batches have weights; None where unknown.

    Raises:
        DataError: for an iterator that can be read only once, lengths that differ, no rows,
            entries that are not numbers, and options that the source cannot serve. Values are
            not read here: see :func:`chainrule.data.check_x` and its companions.

    >>> x, y = np.arange(10, dtype=np.uint8).reshape(5, 2), np.array([0, 1, 0, 1, 0])
    >>> batches = Batches((x, y), batch_size=2)
    >>> len(batches), batches.x_shape
    (3, (2,))
    >>> for xb, yb in batches:
    ...     print(xb.dtype, xb.tolist(), yb)
    float32 [[0.0, 1.0], [2.0, 3.0]] [0 1]
    float32 [[4.0, 5.0], [6.0, 7.0]] [0 1]
    float32 [[8.0, 9.0]] [0]
    >>> [batch.index for batch in batches.epoch(3, start_batch=1)]
    [1, 2]
    """

    def __init__(
        self,
        source: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        transform: Callable[..., Any] | None = None,
        prefetch: int = 0,
        drop_last: bool = False,
        sample_weight: Any = None,
        seed: int = 0,
    ) -> None:
        self.batch_size = _at_least(1, batch_size, "batch_size")
        self.prefetch = _at_least(0, prefetch, "prefetch")
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.transform, self.seed = transform, seed
        self.n_samples: int | None = None
        self.n_batches: int | None = None
        self.x_shape: tuple[int, ...] | None = None
        self.y_shape: tuple[int, ...] | None = None
        self.x_dtype: np.dtype[Any] | None = None
        self.y_dtype: np.dtype[Any] | None = None
        self.weighted: bool | None = None
        self._passes = 0
        self._arrays: Parts | None = None
        self._source = source
        if not isinstance(source, Batches) and is_arrays(source):
            self._take_arrays(source, sample_weight)
        else:
            self._take_batches(source, sample_weight)

    def _take_arrays(self, source: Any, sample_weight: Any) -> None:
        x, y, weight = unpack(source, "")
        if sample_weight is not None:
            if weight is not None:
                raise DataError("sample_weight came twice: in the data's tuple and by name.")
            weight = unpack((x, None, sample_weight), "")[2]
        self._arrays = x, y, weight
        self.n_samples = n = len(x)
        self.n_batches = n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        if self.n_batches == 0:
            raise DataError(
                f"drop_last=True leaves no batch: {n} rows are fewer than batch_size="
                f"{self.batch_size}. Use a smaller batch_size."
            )
        self.x_shape, self.x_dtype = x.shape[1:], x.dtype
        if y is not None:
            self.y_shape, self.y_dtype = y.shape[1:], y.dtype
        self.weighted = weight is not None

    def _take_batches(self, source: Any, sample_weight: Any) -> None:
        for option, given, instead in (
            ("shuffle", self.shuffle, "shuffle where the batches are made"),
            ("drop_last", self.drop_last, "leave the last batch out where the batches are made"),
            ("sample_weight", sample_weight is not None, "let the batches be (x, y, weight)"),
        ):
            if given:
                raise DataError(
                    f"{option} needs arrays, and the data comes as batches: {instead}, or pass "
                    f"arrays or memory maps."
                )
        if isinstance(source, Batches):
            for known in ("n_samples", "n_batches", "weighted"):
                setattr(self, known, getattr(source, known))
            self.x_shape, self.x_dtype = source.x_shape, source.x_dtype
            self.y_shape, self.y_dtype = source.y_shape, source.y_dtype
            return
        check_reiterable(source)
        if hasattr(source, "__len__"):
            self.n_batches = len(source)
            if self.n_batches == 0:
                raise DataError(f"the data is an empty {type(source).__name__}: no batches.")

    def __len__(self) -> int:
        if self.n_batches is None:
            raise TypeError("the number of batches is not known before a pass over this source")
        return self.n_batches

    def __repr__(self) -> str:
        if self._arrays is None:
            return f"Batches(n_batches={self.n_batches})"
        return (
            f"Batches(n_samples={self.n_samples}, n_batches={self.n_batches}, "
            f"batch_size={self.batch_size}, x_shape={self.x_shape}, x_dtype={self.x_dtype})"
        )

    def __iter__(self) -> Iterator[Any]:
        """``x``, ``(x, y)`` or ``(x, y, weight)`` in float32; each pass is the next epoch."""
        epoch = self._passes
        self._passes += 1
        return map(_as_tuple, self.epoch(epoch))

    def epoch(
        self,
        epoch: int,
        start_batch: int = 0,
        *,
        dtype: npt.DTypeLike | None = np.float32,
        y_dtype: npt.DTypeLike | None = None,
        stream: Permutes | None = None,
    ) -> Iterator[Batch]:
        """The batches of one epoch, from ``start_batch`` on.

        Args:
            epoch: which epoch, from 0; with the seed it decides the order of the rows.
            start_batch: how many batches to skip, to continue an interrupted epoch. Costs nothing
                for arrays; batches that arrive as batches are read and thrown away.
            dtype: the dtype of ``x``, of weights and of floating ``y``; None leaves each as it is
                stored (integers for an embedding, for one).
            y_dtype: the dtype of ``y`` of any kind. By default integer ``y`` stays as it is:
                class labels.
            stream: draws the order instead of ``Stream(seed)``.

        Raises:
            DataError: for a negative epoch or a ``start_batch`` outside the epoch, at once; for a
                pass that yields no batch, a batch or a transform's result of the wrong form, with
                the batch's number, when it is met.
        """
        epoch, start = _at_least(0, epoch, "epoch"), _at_least(0, start_batch, "start_batch")
        if self.n_batches is not None and start > self.n_batches:
            raise DataError(
                f"start_batch={start} is beyond the {self.n_batches} batches per epoch."
            )
        xt = None if dtype is None else np.dtype(dtype)
        yt = None if y_dtype is None else np.dtype(y_dtype)
        batches: Generator[Batch, None, None]
        if self._arrays is not None:
            order = None
            if self.shuffle:
                source = stream if stream is not None else Stream(self.seed)
                order = source.permutation("data/shuffle", len(self._arrays[0]), step=epoch)
            batches = self._from_arrays(self._arrays, order, start, xt, yt)
        elif isinstance(self._source, Batches):
            inner = self._source.epoch(epoch, start, dtype=xt, y_dtype=yt, stream=stream)
            batches = (batch for batch in inner)
        else:
            batches = self._from_batches(start, xt, yt)
        if self.transform is not None:
            batches = self._transformed(self.transform, batches, xt, yt)
        return prefetched(batches, self.prefetch) if self.prefetch else batches

    def _from_arrays(
        self,
        arrays: Parts,
        order: Array | None,
        start: int,
        dtype: np.dtype[Any] | None,
        y_dtype: np.dtype[Any] | None,
    ) -> Generator[Batch, None, None]:
        x, y, weight = arrays
        x_rows = _reader(x, dtype)
        y_rows = None if y is None else _reader(y, _target_dtype(y, dtype, y_dtype))
        w_rows = None if weight is None else _reader(weight, dtype)
        size, n, n_batches = self.batch_size, len(x), len(self)
        rows: Rows
        for index in range(start, n_batches):
            first = index * size
            last = min(first + size, n)
            rows = slice(first, last) if order is None else order[first:last]
            yield Batch(
                x_rows(rows),
                None if y_rows is None else y_rows(rows),
                None if w_rows is None else w_rows(rows),
                index,
            )

    def _from_batches(
        self, start: int, dtype: np.dtype[Any] | None, y_dtype: np.dtype[Any] | None
    ) -> Generator[Batch, None, None]:
        index = -1
        for index, item in islice(enumerate(open_pass(self._source)), start, None):
            x, y, weight = unpack(item, f"batch {index}: ")
            # Copies, since an iterable may reuse its buffers and a transform may write.
            yield _cast(x, y, weight, index, dtype, y_dtype, copy=True)
        if index < 0 and start == 0:
            raise DataError(
                "the pass over the data gave no batch. Where a function or __iter__ returns the "
                "same iterator each time, it is empty from the second pass on: make a new one."
            )

    def _transformed(
        self,
        transform: Callable[..., Any],
        batches: Iterator[Batch],
        dtype: np.dtype[Any] | None,
        y_dtype: np.dtype[Any] | None,
    ) -> Generator[Batch, None, None]:
        for batch in batches:
            x, y, index = _writable(batch.x), _writable(batch.y), batch.index
            result = transform(x) if y is None else transform(x, y)
            if y is not None and not (isinstance(result, tuple) and len(result) == 2):
                raise DataError(
                    f"transform must return (x, y) as a tuple; batch {index} gave "
                    f"{type(result).__name__}."
                )
            x, y = (result, None) if y is None else result
            parts = unpack((x, y, batch.weight), f"transformed batch {index}: ")
            yield _cast(*parts, index, dtype, y_dtype)


def _reader(array: Array, dtype: np.dtype[Any] | None) -> Callable[[Rows], Array]:
    """A function from rows to a new array, or a read-only view, of those rows in ``dtype``."""
    cast = dtype is not None and dtype != array.dtype
    # On other layouts `take` would first copy the whole array, which may be a file.
    plain = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative

    def read(rows: Rows) -> Array:
        if isinstance(rows, slice):
            part = array[rows]
            if not cast:
                part.flags.writeable = False
                return part
        else:
            part = array.take(rows, axis=0) if plain else array[rows]
        return part.astype(dtype) if cast else part

    return read


def _target_dtype(
    y: Array, dtype: np.dtype[Any] | None, y_dtype: np.dtype[Any] | None
) -> np.dtype[Any] | None:
    return y_dtype if y_dtype is not None or y.dtype.kind != "f" else dtype


def _cast(
    x: Array,
    y: Array | None,
    weight: Array | None,
    index: int,
    dtype: np.dtype[Any] | None,
    y_dtype: np.dtype[Any] | None,
    copy: bool = False,
) -> Batch:
    if y is not None:
        y = y.astype(_target_dtype(y, dtype, y_dtype) or y.dtype, copy=copy)
    if weight is not None:
        weight = weight.astype(dtype or weight.dtype, copy=copy)
    return Batch(x.astype(dtype or x.dtype, copy=copy), y, weight, index)


def _writable(array: Any) -> Any:
    return array if array is None or array.flags.writeable else array.copy()


def _as_tuple(batch: Batch) -> Any:
    if batch.weight is not None:
        return batch.x, batch.y, batch.weight
    return batch.x if batch.y is None else (batch.x, batch.y)


def _at_least(least: int, value: Any, name: str) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise DataError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)
