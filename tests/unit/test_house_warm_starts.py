"""An operator that is forked from a process that has loaded it is as one that was started: environment, log, end."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tenantry_testing.warm_starts import WarmStarts


def test_a_fork_has_its_own_environment_log_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANTRY_HTTP_PORT", "no number either")
    log, env = tmp_path / "log", {"PATH": os.environ["PATH"]}
    with WarmStarts() as starts:
        ended = starts.start("tenantry_operator", log, {**env, "TENANTRY_LOG_LEVEL": "loud"})
        assert ended.wait(60) == ended.poll() == ended.returncode == 2
        assert "TENANTRY_LOG_LEVEL" in log.read_text()
        assert "TENANTRY_HTTP_PORT" not in log.read_text()
        stopped = starts.start("tenantry_operator", log, env)
        os.kill(stopped.pid, signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            stopped.wait(0.1)
        assert stopped.poll() is None
        stopped.kill()
        assert stopped.wait(60) == -signal.SIGKILL
        left = starts.start("tenantry_operator", log, env)
        os.kill(left.pid, signal.SIGSTOP)
    # It dies with the process that forked it, which dies with this one.
    assert left.has_ended(60)
