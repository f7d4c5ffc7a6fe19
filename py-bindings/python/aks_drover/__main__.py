"""The command `aks-drover`: `python -m aks_drover` is the same."""

from __future__ import annotations

import signal
import sys

from . import _native


def main() -> int:
    """Run the command line on this process's arguments and return its exit code."""
    # The command hears signals itself; Python would answer the first Ctrl-C with a traceback after it has ended well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.main(["aks-drover", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
