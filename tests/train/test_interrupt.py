"""One Ctrl-C asks, two insist."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from chainrule.train.interrupt import Interrupt


def test_first_asks_second_raises_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as i:
        os.kill(os.getpid(), signal.SIGINT)
        assert i.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_handler_is_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_it_does_nothing():
    seen = []

    def work() -> None:
        with Interrupt() as i:
            seen.append(i._installed)

    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert seen == [False]
