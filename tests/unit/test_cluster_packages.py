import os
import shutil
from collections.abc import Sequence

import pytest

from tenantry_cluster import ClusterError, packages


def test_what_is_here_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_program", lambda name: "/usr/sbin/runc" if name == "runc" else None)
    assert packages.missing(["runc", "socat"]) == ["socat"]


def test_an_ordinary_user_is_told_the_names_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda _names: ["runc", "socat"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/apt-get")
    with pytest.raises(ClusterError, match="no root: runc socat") as caught:
        packages.ensure(["runc", "socat", "ip"])
    assert caught.value.cure == "apt-get install --no-install-recommends runc socat"


def test_a_machine_without_apt_is_told_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda _names: ["runc"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ClusterError, match="no apt-get: runc"):
        packages.ensure(["runc"])


def test_the_lists_are_fetched_only_when_an_install_fails() -> None:
    ran: list[str] = []

    def run(arguments: Sequence[str]) -> None:
        ran.append(arguments[0])
        if len(ran) == 1:
            raise ClusterError("Unable to locate package runc")

    packages.install(["runc"], run)
    assert ran == ["install", "update", "install"]


def test_an_install_that_works_fetches_no_lists() -> None:
    ran: list[str] = []
    packages.install(["runc"], lambda arguments: ran.append(arguments[0]))
    assert ran == ["install"]
