"""What a container's profile may forbid: the kernel refuses ``splice`` to this process, from now on."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from typing import Final

SPLICE: Final = {"x86_64": 275, "aarch64": 76}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO, ALLOW = 0x00050000, 0x7FFF0000


class Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_splice() -> None:
    """Have it fail with EPERM. Raises OSError where filters are not to be had, KeyError on another kind of machine."""
    steps = [
        (LOAD, 0, 0, 0),  # the number of the call
        (JUMP_IF_EQUAL, 0, 1, SPLICE[platform.machine()]),
        (RETURN, 0, 0, ERRNO | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    program = Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value, argument in (
        (PR_SET_NO_NEW_PRIVS, 1, None),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)),
    ):
        if libc.prctl(option, value, argument, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")
