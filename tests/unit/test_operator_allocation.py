"""The C library keeps one arena for all threads, where it can be told to."""

import subprocess
import sys

import pytest

HELD_BY_A_THREAD = """
import threading
from tenantry_operator.allocation import keep_little
def heap():
    return next(int(line.split("-")[1].split()[0], 16) for line in open("/proc/self/maps") if "[heap]" in line)
{call}
before, held = heap(), []
thread = threading.Thread(target=lambda: held.extend(bytearray(2000) for _ in range(20_000)))
thread.start()
thread.join()
print((heap() - before) // 2**20)
"""


@pytest.mark.parametrize(("call", "is_shared"), [("keep_little()", True), ("", False)])
def test_threads_share_the_heap(call: str, is_shared: bool) -> None:
    code = HELD_BY_A_THREAD.format(call=call)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(found.stdout) > 30) is is_shared
