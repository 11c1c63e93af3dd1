"""`save` and `load`: a model as one safetensors file that cannot run code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.array.errors import FileFormatError
from chainrule.nn.module import Module
from chainrule.nn.registry import build
from chainrule.serialize.container import Container, read_container, write_container

__all__ = ["architecture_of", "load", "read_metadata", "save"]


def architecture_of(model: Module) -> dict[str, Any] | None:
    """The model's classes and constructor arguments as JSON; None where they cannot be written
    down.

    A model without one is saved with its values alone and loads with ``into=``.
    """
    try:
        return model.architecture()
    except TypeError:
        return None


def save(
    model: Module, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write `model` to one file: parameters, buffers, architecture, digest.

    The file is a safetensors file, readable by any tool for them, with torch's names. It is written
    beside its place, synced and moved there, so an old file stays whole until the new one is.

    Arguments:
        path: usually ``name.safetensors``.
        metadata: anything JSON can hold, kept under ``"user"`` (class names, how it was trained).

    Raises:
        OSError: if the place cannot be written.
        TypeError: for metadata that JSON cannot hold.

    >>> import chainrule as cr, tempfile, os
    >>> model = cr.nn.Sequential(cr.nn.Dense(2, 3), cr.nn.ReLU())
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> cr.save(model, path)
    >>> cr.load(path)
    Sequential(
      (0): Dense(2 -> 3)
      (1): ReLU()
    )
    """
    if not isinstance(model, Module):
        raise TypeError(f"save takes a chainrule.nn.Module, got {type(model).__name__}")
    contents: dict[str, Any] = {
        "architecture": architecture_of(model),
        "user": dict(metadata or {}),
    }
    write_container(path, model.state_dict(), contents, kind="model")


def load(
    path: str | os.PathLike[str], classes: Sequence[type[Module]] = (), into: Module | None = None
) -> Module:
    """Read a model from a file written by `save`, or from a checkpoint.

    Only the library's own modules and the classes passed in are constructed; nothing is imported by
    name and no code runs from the file. The model comes back in evaluation mode.

    Arguments:
        classes: your own Module classes the file may name.
        into: a model to fill instead of building one; its names and shapes must fit.

    Raises:
        FileFormatError: for a file that is truncated, damaged, foreign, too new, or names a class
            that is not known.
        FileNotFoundError: if there is no such file.

    >>> import os, tempfile
    >>> import chainrule as cr
    >>> model = cr.nn.Dense(2, 3)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> cr.save(model, path)
    >>> cr.load(path)
    Dense(2 -> 3)
    >>> cr.load(path, into=model) is model
    True
    """
    if into is not None and not isinstance(into, Module):
        raise TypeError(f"into takes a chainrule.nn.Module, made already; got {into!r}")
    if isinstance(classes, type):
        raise TypeError(f"classes is a list, also of one: write classes=[{classes.__name__}]")
    file = read_container(path)
    values = _values(file, path)
    if into is not None:
        model = into
    else:
        architecture = file.metadata.get("architecture")
        if not isinstance(architecture, dict):
            raise FileFormatError(
                f"{os.fspath(path)} holds values without an architecture (the model's constructor "
                "took something "
                "JSON cannot hold); build the model and load with cr.load(path, into=model)"
            )
        try:
            model = build(architecture, classes)
        except FileFormatError as error:
            raise FileFormatError(f"{os.fspath(path)}: {error}") from error
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
            OverflowError,
            MemoryError,
        ) as error:
            raise FileFormatError(
                f"{os.fspath(path)}: the architecture does not build: {type(error).__name__}: "
                f"{error}"
            ) from error
        dtypes = {a.dtype for a in values.values() if a.dtype.kind == "f"}
        if len(dtypes) == 1:
            model.to(dtypes.pop())
    try:
        model.load_state_dict(values)
    except (KeyError, ValueError) as error:
        reason = error.args[0] if error.args else error
        raise FileFormatError(f"{os.fspath(path)}: {reason}") from error
    return model.eval()


def _values(file: Container, path: Any) -> dict[str, np.ndarray[Any, Any]]:
    if file.kind == "checkpoint":
        return {
            k.removeprefix("model."): v for k, v in file.tensors.items() if k.startswith("model.")
        }
    if file.kind != "model":
        raise FileFormatError(f"{os.fspath(path)} holds a {file.kind!r}, not a model")
    return dict(file.tensors)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` was given as metadata."""
    file = read_container(path)
    user = file.metadata.get("user", {})
    return dict(user) if isinstance(user, dict) else {}
