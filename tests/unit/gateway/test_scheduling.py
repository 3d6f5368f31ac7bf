"""The serving processes ask the scheduler for short slices."""

import ctypes
import os
import struct
import subprocess
import sys

import pytest

from harness.gateway import scheduling
from harness.gateway.scheduling import SLICE_S, prefer_short_slices

_GET_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}


def test_the_kernel_takes_it_and_keeps_policy_and_priority():
    """In a process of its own: what a thread asks for stays with it."""
    code = (
        "import os; os.nice(3); from tests.unit.gateway.test_scheduling import attributes;"
        "from harness.gateway.scheduling import prefer_short_slices;"
        "print(prefer_short_slices(), *attributes())"
    )
    took, policy, nice, runtime = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert (took, int(policy), int(nice)) == ("True", os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    # Kernels before 6.12 tell of no slice.
    assert int(runtime) in {0, int(SLICE_S * 1e9)}


def attributes() -> tuple[int, int, int]:
    """Policy, niceness and slice (ns) of this thread."""
    found = ctypes.create_string_buffer(56)
    number = _GET_ATTRIBUTES[os.uname().machine]
    assert ctypes.CDLL(None).syscall(number, 0, found, len(found), 0) == 0
    _, policy, _, nice, _, runtime = struct.unpack_from("=IIQiIQ", found)
    return policy, nice, runtime


@pytest.mark.parametrize("machine", ["riscv64", ""])
def test_an_unknown_machine_is_left_alone(monkeypatch, machine):
    monkeypatch.setattr(scheduling.platform, "machine", lambda: machine)
    assert prefer_short_slices() is False
