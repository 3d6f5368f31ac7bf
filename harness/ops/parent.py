"""Processes that end with the one that started them."""

import contextlib
import ctypes
import os
import signal
import sys


def end_with(parent: int) -> bool:
    """Have the kernel tell us with SIGTERM when our parent is gone (Linux); false when it is gone already.

    Args:
        parent: The process id of whoever started us, as it knew itself.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    return os.getppid() == parent
