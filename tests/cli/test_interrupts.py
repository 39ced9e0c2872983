"""The signals that ask a command to stop."""

import os
import signal

import pytest

from flowcli.cli.interrupts import interruptible

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def _as_before():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_stays_so(ignored):
    """By nohup, or by a shell that runs the command in the background."""
    signal.signal(ignored, signal.SIG_IGN)

    @interruptible()
    def work():
        os.kill(os.getpid(), ignored)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(ignored) is signal.SIG_IGN


@pytest.mark.usefixtures("_as_before")
def test_what_stood_before_comes_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with interruptible():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
