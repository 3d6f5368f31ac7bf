"""Tells the system's scheduler that a process answers people: it works for moments and must not wait for its turn."""

import ctypes
import os
import platform
import struct
import sys

SLICE_S = 0.0001
"""The shortest slice the kernel grants; a process that asks for less than the one at work takes its place at once."""
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = struct.Struct("=IIQiIQQQII")
"""``struct sched_attr``: size, policy, flags, nice, priority, runtime, deadline, period, least and most utilisation."""


def prefer_short_slices() -> bool:
    """Ask for short slices for this thread and those it starts; whether the kernel took it.

    A fair scheduler lets whoever is at work finish a slice of some milliseconds, whatever its priority, and a request
    waits for it. Linux from 6.12 on takes the length from ``sched_runtime`` (Documentation/scheduler/sched-eevdf.rst);
    older kernels take no notice.
    """
    number = _SET_ATTRIBUTES.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    attributes = _ATTRIBUTES.pack(
        _ATTRIBUTES.size, os.SCHED_OTHER, 0, os.getpriority(os.PRIO_PROCESS, 0), 0, int(SLICE_S * 1e9), 0, 0, 0, 0
    )
    return bool(ctypes.CDLL(None).syscall(number, 0, attributes, 0) == 0)
