"""The bar shows on a terminal and nowhere else."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import textwrap
import threading
from typing import Any

from chainrule.train.progress import Progress, bar


def test_lines_without_a_terminal(capsys: Any) -> None:
    p = Progress(True, 3, 10)
    p.step(0.5, 0)
    p.epoch(0, {"loss": 0.5, "lr": 0.1, "seconds": 1.25})
    p.close()
    assert capsys.readouterr().err == "epoch 1/3  loss 0.5000  (1.2 s)\n"
    q = Progress(None, 3, 10)
    q.epoch(0, {"loss": 0.5, "seconds": 1.0})
    q.say("words")
    assert capsys.readouterr().err == "words\n"
    Progress(False, 3, 10).say("words")
    assert capsys.readouterr().err == ""


def test_bar_on_a_terminal():
    code = """
    import time
    from chainrule.train.progress import Progress
    p = Progress(None, 2, 50)
    for k in range(100):
        time.sleep(0.004); p.step(0.5, k // 50)
        if k % 50 == 49: p.epoch(k // 50, {"loss": 0.5, "seconds": 0.2})
    p.close()
    """
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stderr=terminal, check=True)
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    text = shown.decode()
    assert "/100 steps" in text
    assert "left" in text
    assert "epoch 2/2  loss 0.5000" in text


def test_a_bar_leaves_no_thread_behind():
    before = threading.active_count()
    shown = bar(total=2, file=io.StringIO())
    shown.update(2)
    shown.close()
    assert threading.active_count() == before
