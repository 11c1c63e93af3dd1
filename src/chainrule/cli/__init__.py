"""Floor 9: the command line, ``chainrule train | evaluate | predict | export | info …``.

Nothing here loads NumPy: the BLAS kernel is chosen first, and ``chainrule --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from chainrule.array.blas import prepare_environment
from chainrule.array.errors import DataError, FileFormatError, MissingExtraError, ShapeError
from chainrule.cli.arguments import UsageError, parser

__all__ = ["main"]

#: Exit codes: what was asked is at fault, or what happened.
OK, FAILED, MISUSED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

_AT_FAULT = (
    UsageError,
    DataError,
    ShapeError,
    FileFormatError,
    MissingExtraError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Results go to standard output; progress, notes and errors to standard error. An error is one
    line, ``chainrule: error: …``; ``--debug`` adds the traceback.

    Arguments:
        argv: the words after ``chainrule``; None takes them from the process.

    Returns:
        0: done. 1: it failed (a loss that became NaN, a failed check, a bug). 2: the request or the
        data is at fault (an unknown option or name, a file that is missing, damaged or of the wrong
        shape, no permission). 130: interrupted by Ctrl-C, after saving what there is. 141: whoever
        read the output stopped reading.

    >>> main(["--version"])
    chainrule ...
    0
    """
    prepare_environment()
    debug = False
    try:
        arguments = parser().parse_args(argv)
        debug = arguments.debug
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except SystemExit as done:  # argparse, after --help, --version or a wrong argument
        return int(done.code or 0)
    except KeyboardInterrupt:
        print("chainrule: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        at_fault = isinstance(error, _AT_FAULT)
        print(f"chainrule: error: {_text(error, at_fault or debug)}", file=sys.stderr)
        return MISUSED if at_fault else FAILED


def _text(error: Exception, explained: bool) -> str:
    """The error as one line for a person."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    text = " ".join(str(error).split())
    if explained or isinstance(error, ArithmeticError):
        return text
    return f"{type(error).__name__}: {text} (chainrule --debug … shows where)"


def _discard_output() -> None:
    """Let the interpreter's last flush go nowhere, so that it does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            try:
                os.dup2(nowhere, stream.fileno())
            except (OSError, ValueError):  # a stream without a file, under a test
                continue
    os.close(nowhere)
