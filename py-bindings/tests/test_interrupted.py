"""Ctrl-C, SIGKILL, a `break` in the middle: a run stops safely, and goes on where it was."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import aks_drover as drover
from aks_drover import events
from support import LISTEN, silence

FOLLOW = """
import sys
import aks_drover as drover
from aks_drover import events

cluster = drover.connect("drover.toml", "demo")
run = cluster.resume(sys.argv[1]) if len(sys.argv) > 1 else cluster.apply(cluster.plan(to="1.35"))
print("run", run.journal, flush=True)
try:
    with run:
        for event in run:
            if isinstance(event, events.StageStarted):
                print("stage", event.stage, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    try:
        run.result()
    except drover.Aborted as aborted:
        print("aborted", aborted.exit_code, flush=True)
"""


@contextlib.contextmanager
def following(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """Let another Python process follow a run; give the process and what it prints."""
    command = [sys.executable, "-c", LISTEN + FOLLOW, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield child, iter(child.stdout)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def until(lines: Iterator[str], beginning: str) -> str:
    """Wait for a line, and give the rest of it."""
    for line in lines:
        if line.startswith(beginning):
            return line.removeprefix(beginning).strip()
    pytest.fail(f"it ended without `{beginning}`")


def test_a_run_survives_a_kill_a_ctrl_c_and_a_break(lab: Path) -> None:
    with following() as (child, lines):
        journal = until(lines, "run")
        until(lines, "stage 2")
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL

    with following(journal) as (child, lines):
        stage = int(until(lines, "stage"))
        child.send_signal(signal.SIGINT)
        until(lines, "interrupted")
        assert until(lines, "aborted") == "130"
        assert child.wait() == 0

    cluster = drover.connect("drover.toml", "demo")
    with cluster.resume(journal) as run:
        for event in run:
            if isinstance(event, events.StageFinished):
                assert event.stage >= stage
                break
    with pytest.raises(drover.Aborted) as aborted:
        run.result()
    assert aborted.value.journal == Path(journal)

    run = cluster.resume(journal)
    report = run.result()
    assert (report.outcome.result, report.gaps) == ("done", ())
    # Nobody has taken the events yet: they are still there, from the first to the last.
    heard = list(run)
    assert isinstance(heard[0], events.RunStarted)
    assert heard[0].resumed
    assert isinstance(heard[-1], events.RunEnded)
    assert cluster.plan(to="1.35").stages == ()


def test_ctrl_c_is_heard_within_a_fifth_of_a_second(tmp_path: Path) -> None:
    def heard_after() -> float:
        code = "import aks_drover as d, sys; d.connect(sys.argv[1], 'demo')"
        with silence(tmp_path) as (config, server):
            child = subprocess.Popen([sys.executable, "-c", LISTEN + code, config], stderr=subprocess.PIPE)
            with server.accept()[0]:
                sent = time.monotonic()
                child.send_signal(signal.SIGINT)
                _, errors = child.communicate()
                passed = time.monotonic() - sent
        assert errors.decode().strip().endswith("KeyboardInterrupt")
        assert child.returncode == -signal.SIGINT
        return passed

    # The end of a process is in it, too, and other processes may be in the way of one of three.
    assert min(heard_after() for _ in range(3)) < 0.2


def test_python_goes_on_while_drover_waits(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, silence(tmp_path) as (config, server):
        connected = pool.submit(drover.connect, config, "demo")
        # Were the interpreter held while it waits for an answer, this line would never be reached.
        connection, _ = server.accept()
        server.close()
        connection.close()
        with pytest.raises(drover.RemoteError) as error:
            connected.result()
    assert error.value.service in ("Rancher", "Azure")
