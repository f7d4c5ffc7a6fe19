"""A lab for the tests: a simulated Rancher, Kubernetes and Azure behind real HTTP, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# The console script beside this interpreter: the command as pip installs it.
COMMAND = Path(sys.executable).with_name("aks-drover")


@contextmanager
def running_lab(folder: Path) -> Iterator[Path]:
    """Start a lab whose cluster `demo` is at 1.34; give the folder with its `drover.toml`."""
    # 1200 times as fast as a real cluster: an upgrade of hours in seconds.
    arguments = ["lab", "--port", "0", "--dir", os.fspath(folder), "--time-scale", "1200"]
    lab = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert lab.stdout is not None
        # It prints its configuration when it listens.
        first = lab.stdout.readline()
        assert first, f"the lab ended with {lab.wait()}"
        yield folder
    finally:
        lab.kill()
        lab.wait()
        lab.stdout and lab.stdout.close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Start a lab, and go to the folder that has its `drover.toml`."""
    with running_lab(tmp_path) as folder:
        monkeypatch.chdir(folder)
        yield folder
