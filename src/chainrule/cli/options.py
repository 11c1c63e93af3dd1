"""The options of ``chainrule train``, and how the text of an option becomes a value."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any

from chainrule.array.errors import nearest

__all__ = ["Each", "integer", "number", "one_of", "seconds", "train_options", "widths"]

KINDS = ("numeric", "boolean", "categorical", "ordinal", "datetime", "text", "identifier")
TASKS = ("auto", "classification", "regression", "binary", "multiclass", "multilabel")


class Each(argparse.Action):
    """An option that may be given several times; what is typed replaces what a file said."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        before = getattr(namespace, self.dest, None)
        first = before is None or before is self.default
        setattr(namespace, self.dest, [values] if first else [*list(before or ()), values])


def integer(lowest: int) -> Callable[[str], int]:
    """A reader of whole numbers from `lowest` on.

    >>> integer(1)("12")
    12
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if value < lowest:
            raise argparse.ArgumentTypeError(f"expected a whole number from {lowest}, got {text!r}")
        return value

    return read


def number(low: float, high: float = math.inf, open_low: bool = False) -> Callable[[str], float]:
    """A reader of numbers from `low`, or above it with `open_low`, and below `high`.

    >>> number(0, 1)("0.25")
    0.25
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value < high) or (open_low and value == low):
            above = "above" if open_low else "from"
            below = f" and below {high:g}" if high < math.inf else ""
            raise argparse.ArgumentTypeError(
                f"expected a number {above} {low:g}{below}, got {text!r}"
            )
        return value

    return read


def widths(text: str) -> list[int]:
    """The widths of hidden layers.

    >>> widths("256,128")
    [256, 128]
    """
    words = [w for w in re.split(r"[,\s]+", text.strip()) if w]
    if any(not w.isdecimal() or int(w) < 1 for w in words):
        raise argparse.ArgumentTypeError(
            f"expected the widths of the hidden layers, such as 256,128, got {text!r}"
        )
    return [int(w) for w in words]


def seconds(text: str) -> float:
    """A span of time: a number of seconds, or with a unit.

    >>> seconds("90"), seconds("10m"), seconds("1.5h")
    (90.0, 600.0, 5400.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h)?\s*", text)
    value = (
        float(found[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[found[2] or "s"] if found else 0.0
    )
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 30, 90s, 10m or 1h, got {text!r}"
        )
    return value


def one_of(*names: str) -> Callable[[str], str]:
    """A reader of one of a few names; for another it tells the nearest.

    >>> one_of("auto", "none")("auto")
    'auto'
    """

    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"unknown value {text!r}; {nearest(text, names)}")
        return text

    return read


def kind(text: str) -> tuple[str, str]:
    """A column and its kind.

    >>> kind("zip=categorical")
    ('zip', 'categorical')
    """
    column, equals, name = text.rpartition("=")
    if not equals or not column:
        raise argparse.ArgumentTypeError(
            f"expected COLUMN=KIND, such as zip=categorical, got {text!r}"
        )
    if name not in KINDS:
        raise argparse.ArgumentTypeError(
            f"unknown kind {name!r} in {text!r}; {nearest(name, KINDS)}"
        )
    return column, name


def order(text: str) -> tuple[str, list[str]]:
    """A column and its values from the lowest to the highest.

    >>> order("size=S,M,L")
    ('size', ['S', 'M', 'L'])
    """
    column, _, values = text.partition("=")
    found = [v.strip() for v in values.split(",")]
    if not column or len(found) < 2 or "" in found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(
            f"expected COLUMN=LOWEST,…,HIGHEST, such as size=S,M,L, got {text!r}"
        )
    return column, found


def character(text: str) -> str:
    """A delimiter; ``tab`` and ``\\t`` are what they say.

    >>> character("tab")
    '\\t'
    """
    text = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}.get(text, text)
    if len(text) != 1 or text in '"\n\r':
        raise argparse.ArgumentTypeError(
            f"expected one character, such as ';' or tab, got {text!r}"
        )
    return text


def train_options(p: argparse.ArgumentParser) -> None:
    """Add what ``chainrule train`` takes. What is not given is None, and decided by the data."""
    p.add_argument(
        "data",
        nargs="*",
        metavar="DATA",
        help="a table: .csv, .parquet, .arrow, .npz, several of one form, or a pattern in quotes; "
        "arrays X and y: .npz (default: the digits that come along)",
    )
    g = p.add_argument_group("table")
    g.add_argument(
        "-t",
        "--target",
        action=Each,
        metavar="COLUMN",
        help="what to predict; again for several targets",
    )
    g.add_argument(
        "--task",
        type=one_of(*TASKS),
        metavar="TASK",
        help="classification, regression, or exactly binary, multiclass, multilabel "
        "(default: what the target looks like)",
    )
    g.add_argument(
        "--kind",
        action=Each,
        type=kind,
        metavar="COLUMN=KIND",
        help=f"take a column as {', '.join(KINDS)}",
    )
    g.add_argument(
        "--order",
        action=Each,
        type=order,
        metavar="COLUMN=A,B,C",
        help="the values of an ordinal column, from the lowest to the highest",
    )
    g.add_argument("--drop", action=Each, metavar="COLUMN", help="leave a column out")
    g.add_argument(
        "--id",
        action=Each,
        metavar="COLUMN",
        help="a column that names rows: not learned from, kept beside predictions",
    )
    g.add_argument(
        "--scaling",
        type=one_of("standard", "robust", "quantile", "none"),
        metavar="NAME",
        help="of numbers: standard, robust, quantile or none (default standard)",
    )
    g.add_argument(
        "--delimiter",
        type=character,
        metavar="C",
        help="between the fields of a CSV (default: found)",
    )
    g.add_argument("--encoding", metavar="NAME", help="of a CSV (default: found)")
    g = p.add_argument_group("split")
    g.add_argument(
        "--validation", metavar="FILE", help="choose the weights on these rows, no split"
    )
    g.add_argument("--test", metavar="FILE", help="test on these rows, no split")
    g.add_argument(
        "--validation-fraction",
        type=number(0, 1),
        metavar="F",
        help="share of the rows to choose the weights of one network on (default 0.1); the "
        "networks of --members take turns with these rows and those to train on",
    )
    g.add_argument(
        "--test-fraction",
        type=number(0, 1),
        metavar="F",
        help="share of the rows to test on (default 0.2)",
    )
    g.add_argument(
        "--group", metavar="COLUMN", help="rows of one group stay together (a patient, a machine)"
    )
    g.add_argument(
        "--time", metavar="COLUMN", help="train on the earliest rows, test on the latest"
    )
    g.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        metavar="N",
        help="of the split, the first weights, the order and dropout (default 0)",
    )
    g.add_argument(
        "--split-seed", type=integer(0), metavar="N", help="of the split alone (default: --seed)"
    )
    g = p.add_argument_group("model")
    g.add_argument(
        "--hidden",
        "--hidden-sizes",
        type=widths,
        metavar="N,N",
        help="widths of the hidden layers; '' for none (default: from the size of the data)",
    )
    g.add_argument("--activation", metavar="NAME", help="of the hidden layers (default relu)")
    g.add_argument(
        "--dropout",
        type=number(0, 1),
        metavar="P",
        help="share of hidden values left out while training (default: from the data)",
    )
    g.add_argument(
        "--members",
        type=integer(1),
        metavar="K",
        help="networks of a table's model, whose mean predicts; each is stopped by another Kth of "
        "the rows and learns from the rest (default: 5 below 20,000 training rows, else 1; "
        "1 with --seeds, --checkpoint and --resume)",
    )
    g = p.add_argument_group("training")
    g.add_argument("--optimizer", metavar="NAME", help="adamw, adam, sgd, … (default adamw)")
    g.add_argument(
        "--learning-rate",
        "--lr",
        type=number(0, open_low=True),
        metavar="LR",
        help="the peak of the schedule (default: from the data)",
    )
    g.add_argument("--weight-decay", type=number(0), metavar="W", help="(default: from the data)")
    g.add_argument(
        "--schedule",
        metavar="NAME",
        help="of the learning rate: one_cycle, cosine, …, none (default one_cycle)",
    )
    g.add_argument(
        "--clip-norm",
        type=number(0),
        metavar="N",
        help="the largest norm of a gradient; 0: no limit (default: 1 for a table)",
    )
    g.add_argument(
        "--epochs",
        type=integer(1),
        metavar="N",
        help="passes over the rows (default: from the data)",
    )
    g.add_argument("--batch-size", type=integer(1), metavar="N", help="(default: from the data)")
    g.add_argument(
        "--patience",
        type=integer(0),
        metavar="N",
        help="stop after so many epochs without a better validation loss; 0: never "
        "(default: from the data); the best weights are kept in any case",
    )
    g.add_argument(
        "--class-weight",
        type=one_of("auto", "balanced", "none"),
        metavar="HOW",
        help="auto: where classes are far from equally frequent, a rare one is predicted from a "
        "lower probability on (the default for a table); balanced: classes weigh the same in "
        "training; none",
    )
    g.add_argument(
        "--label-smoothing",
        type=number(0, 1),
        metavar="P",
        help="share of the truth that is spread over all classes (default 0)",
    )
    g.add_argument(
        "--time-limit",
        type=seconds,
        metavar="T",
        help="end training after so long (90, 10m, 1h), with the best weights so far; of the "
        "networks of --members, those that are trained by then predict",
    )
    g = p.add_argument_group("several trainings")
    g.add_argument(
        "--cv",
        type=integer(2),
        metavar="K",
        help="figures from K folds, each tested once, by as many networks as --members; the model "
        "is then trained on all rows",
    )
    g.add_argument(
        "--seeds",
        type=integer(2),
        metavar="N",
        help="train one network N times from other first weights, keep the best on the validation "
        "rows",
    )
    g.add_argument(
        "--search",
        type=integer(1),
        nargs="?",
        const=20,
        metavar="N",
        help="try N random settings on validation folds, with one network each, and train with the "
        "best (N is 20 if left out)",
    )
    g.add_argument(
        "--compare", action="store_true", help="with scikit-learn's gradient boosting, same rows"
    )
    g = p.add_argument_group("files and output")
    g.add_argument(
        "-o", "--output", metavar="FILE", help="the model file (default DATA.safetensors)"
    )
    g.add_argument("--force", action="store_true", help="replace what is in the way")
    g.add_argument("--config", metavar="FILE.toml", help="take options from a file; typed ones win")
    g.add_argument(
        "--plots",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="pictures in the run folder (default: where matplotlib is installed)",
    )
    g.add_argument(
        "--checkpoint", metavar="FILE", help="write the state of training (one network) every epoch"
    )
    g.add_argument("--resume", metavar="FILE", help="go on from a checkpoint, bit for bit")
    g.add_argument("--quiet", action="store_true", help="print the final results alone")
    g.add_argument("--json", action="store_true", help="print one JSON object; the rest on stderr")
