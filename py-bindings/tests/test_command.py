"""The command `aks-drover`, as pip installs it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import aks_drover as drover
from support import COMMAND, silence


def test_the_command_and_the_module_have_one_version() -> None:
    for command in ([COMMAND], [sys.executable, "-m", "aks_drover"]):
        shown = subprocess.run([*command, "--version"], capture_output=True, text=True)
        assert (shown.returncode, shown.stdout) == (0, f"aks-drover {drover.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["upgarde"], ["check", "demo", "--to", "1.35", "--config", "nowhere.toml"]]
)
def test_what_is_wrong_goes_to_stderr_with_the_exit_code_of_the_table(arguments: list[str]) -> None:
    ran = subprocess.run([COMMAND, *arguments], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert arguments[-1] in ran.stderr


def test_ctrl_c_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    with silence(tmp_path) as (config, server):
        arguments: list[str | Path] = [COMMAND, "check", "demo", "--to", "1.35", "--config", config]
        child = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        with server.accept()[0]:
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate()
    assert child.returncode == 130
    assert "Traceback" not in errors
