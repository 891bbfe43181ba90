"""How the C library keeps memory for a process that lives for weeks."""

import ctypes
from typing import Final

# malloc.h of glibc.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8

LARGE: Final = 128 * 1024
"""Bytes. The library's own limit, which would otherwise grow with the first answer that is longer: from then on such an
answer leaves a hole in the heap, which is not given back."""


def keep_little() -> None:
    """Have one arena for all threads, of which Python lets one run at a time, and give back what is large.

    Does nothing where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE)):
            mallopt(parameter, value)
