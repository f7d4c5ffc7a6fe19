"""The command `aks-drover`: `python -m aks_drover` is the same."""

from __future__ import annotations

import sys

from . import _native


def main() -> int:
    """Run the command line on this process's arguments and return its exit code."""
    return _native.main(["aks-drover", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
