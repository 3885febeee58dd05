"""SIGINT (Ctrl-C) and SIGTERM (a batch system's, shortly before the time limit) during work that can be saved."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

BOTH = signal.SIGINT, signal.SIGTERM


@contextmanager
def noted() -> Iterator[list[int]]:
    """Yield a list that each signal is added to, so that the work can save and stop where it is safe."""
    received: list[int] = []
    try:
        before = {each: signal.signal(each, lambda number, _: received.append(number)) for each in BOTH}
    except ValueError:  # outside the main thread no handler can be set, and no signal arrives
        before = {}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
