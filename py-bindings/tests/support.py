"""What several tests need: a lab in a process of its own, and a server that never answers."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The console script beside this interpreter: the command as pip installs it.
COMMAND = Path(sys.executable).with_name("aks-drover")

# Whoever started the tests may have had Ctrl-C ignored (a shell does, for its background jobs), and children inherit that.
LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@contextmanager
def running_lab(folder: Path, *, time_scale: int = 1200) -> Iterator[Path]:
    """Start a lab whose cluster `demo` is at 1.34; give the folder with its `drover.toml`.

    At 1200 times the speed of a real cluster an upgrade of hours takes seconds.
    """
    arguments = ["lab", "--port", "0", "--dir", os.fspath(folder), "--time-scale", str(time_scale)]
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


@contextmanager
def silence(folder: Path) -> Iterator[tuple[Path, socket.socket]]:
    """Listen where a configuration looks for Rancher and Azure, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)  # whoever never calls fails the test, not the night
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        (folder / "token").write_text("token-abcde:" + "b" * 54)
        config = folder / "drover.toml"
        config.write_text(f"""
[environments.silent.rancher]
url = "{url}"
token = {{ file = "token" }}
[environments.silent.azure]
subscription = "00000000-0000-0000-0000-000000000000"
endpoint = "{url}"
credential = {{ kind = "token", file = "token" }}
[clusters.demo]
environment = "silent"
rancher_id = "c-m-abcd1234"
resource_group = "rg-demo"
""")
        yield config, server
