"""``chainrule predict`` on a table: block by block, so that its size does not matter."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from chainrule.array.errors import DataError, nearest
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import check_output, write_array
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.tabular import source_of
from chainrule.data.reading import scan_table
from chainrule.serialize.atomic import atomic_write

__all__ = ["run"]

_SUFFIXES = (".csv", ".tsv", ".parquet", ".npy")
#: Digits of a number, and decimals of a probability, in a text: the network computes in float32.
_DIGITS, _PLACES = 7, 6


def _check_output(a: argparse.Namespace) -> None:
    """Refuse an output that cannot be written, before any work."""
    if a.output is None:
        return
    suffix = os.path.splitext(a.output)[1].lower()
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"-o {a.output}: predictions for a table are written as .csv, .tsv, .parquet or .npy; "
            f"name it {a.output}.csv"
        )
    check_output(a.output, replace=a.force)
    for source in a.data:
        there = os.path.exists(a.output) and os.path.exists(source)
        if there and os.path.samefile(a.output, source):
            raise UsageError(f"-o {a.output} is the table that is read; give another name")


def run(a: argparse.Namespace, pipeline: Pipeline) -> int:
    """Carry the command out; the exit code."""
    _check_output(a)
    if a.probabilities and pipeline.task == "regression":
        raise UsageError("--probabilities needs a classifier; this model predicts values")
    ids = pipeline.about.get("data", {}).get("ids", [])
    keep = a.keep or ("id" if ids else "all")
    if keep == "id" and not ids:
        raise UsageError(
            "--keep id: the model knows no id column; train with --id COLUMN, or use --keep all"
        )
    suffix = os.path.splitext(a.output)[1].lower() if a.output else ".csv"
    blocks = _Blocks(a, pipeline, {"id": ids, "none": []}.get(keep), suffix in (".csv", ".tsv"))
    _WRITERS[suffix](a.output, blocks)
    for line in blocks.notes():
        print(f"chainrule: note: {line}", file=sys.stderr)
    if a.output:
        print(f"{a.output}: {blocks.rows:,} rows, {listed_columns(blocks.added)}", file=sys.stderr)
    return 0


def listed_columns(names: list[str]) -> str:
    """The columns that were added, in a few words.

    >>> listed_columns(["predicted_a"])
    'with predicted_a'
    """
    return f"with {', '.join(names[:4])}" + (
        f" and {len(names) - 4} more" if len(names) > 4 else ""
    )


class _Blocks:
    """The kept columns and the predictions, as polars frames; made anew by each iteration."""

    def __init__(
        self, a: argparse.Namespace, pipeline: Pipeline, keep: list[str] | None, rounded: bool
    ) -> None:
        self.a, self.pipeline, self.keep, self.rounded = a, pipeline, keep, rounded
        self.rows = 0
        self.added: list[str] = []
        self._notes: dict[str, list[str]] = {}
        self._renamed: list[str] = []

    def __iter__(self) -> Iterator[Any]:
        a = self.a
        for block in scan_table(source_of(a.data), delimiter=a.delimiter, encoding=a.encoding):
            try:
                yield self._predicted(block)
            except DataError as error:
                if not self.rows:
                    raise
                raise DataError(
                    f"{error} (rows are counted from data row {self.rows + 1})"
                ) from error
            self.rows += block.height

    def _predicted(self, block: Any) -> Any:
        pipeline, a = self.pipeline, self.a
        assert pipeline.preprocessor is not None
        assert pipeline.target is not None
        kept = block if self.keep is None else block.select(self._kept(block))
        for note in pipeline.preprocessor.check(block, a.data[0]):
            self._notes.setdefault(note.partition(":")[0], []).append(note)
        scores = pipeline.table_scores(block, a.batch_size)
        found = pipeline.decide_table(scores)
        found = found.rename({name: f"predicted_{name}" for name in found.columns})
        if self.rounded:
            floats = [s.name for s in found if s.dtype.is_float()]
            found = found.with_columns(found[n].round_sig_figs(_DIGITS) for n in floats)
        if a.probabilities:
            p = pipeline.target.probabilities(scores)
            found = found.hstack(p.with_columns(s.round(_PLACES) for s in p) if self.rounded else p)
        names = _free(found.columns, kept.columns)
        self._renamed = [f"{a} as {b}" for a, b in zip(found.columns, names, strict=True) if a != b]
        self.added = names
        found.columns = names
        return kept.hstack(found) if kept.width else found

    def _kept(self, block: Any) -> list[str]:
        for name in self.keep or ():
            if name not in block.columns:
                raise DataError(
                    f"{self.a.data[0]} has no column {name!r}, the id that the model was trained "
                    f"with; {nearest(name, block.columns)}. Or use --keep all"
                )
        return self.keep or []

    def notes(self) -> list[str]:
        """What the rows had that the training rows had not, of all blocks together."""
        lines = []
        for found in self._notes.values():
            more = f" (and the like in {len(found) - 1} further blocks)" if len(found) > 1 else ""
            lines.append(found[0] + more)
        if self._renamed:
            lines.append(f"the table has such columns already: {', '.join(self._renamed)}")
        return lines


def _free(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The names, with a number at the end where one is taken."""
    used, free = set(taken), []
    for name in names:
        own, k = name, 2
        while own in used:
            own, k = f"{name}_{k}", k + 1
        used.add(own)
        free.append(own)
    return free


# -- writers ----------------------------------------------------------------------------------


def _to_csv(path: str | None, blocks: _Blocks) -> None:
    separator = "\t" if path and path.lower().endswith(".tsv") else ","
    if path is None:
        for k, block in enumerate(blocks):
            sys.stdout.write(_text(block, separator, k == 0))
        return
    with atomic_write(path) as file:
        for k, block in enumerate(blocks):
            file.write(_text(block, separator, k == 0).encode())


def _text(block: Any, separator: str, header: bool) -> str:
    text: str = block.write_csv(None, separator=separator, include_header=header)
    return text


def _to_parquet(path: str | None, blocks: _Blocks) -> None:
    """Through polars' streaming engine, which asks for a block when it has written one."""
    from polars.io.plugins import register_io_source

    assert path is not None
    source = iter(blocks)
    first = next(source)
    failed: list[BaseException] = []

    def read(columns: Any, predicate: Any, n_rows: Any, batch_size: Any) -> Iterator[Any]:
        try:
            yield first
            for block in source:
                yield block.cast(dict(first.schema))
        except BaseException as error:  # polars would wrap it in one of its own
            failed.append(error)
            raise

    with atomic_write(path) as file:
        try:
            register_io_source(read, schema=first.schema).sink_parquet(file)
        except BaseException:
            if failed:
                raise failed[0] from None
            raise


def _to_npy(path: str | None, blocks: _Blocks) -> None:
    assert path is not None
    parts = [block.select(blocks.added) for block in blocks]
    arrays = [part.to_numpy() for part in parts]
    found = np.concatenate(arrays)
    found = found[:, 0] if found.shape[1] == 1 else found
    if found.dtype == object:
        found = found.astype(str)
    write_array(path, found)


_WRITERS: dict[str, Callable[[str | None, _Blocks], None]] = {
    ".csv": _to_csv,
    ".tsv": _to_csv,
    ".parquet": _to_parquet,
    ".npy": _to_npy,
}
