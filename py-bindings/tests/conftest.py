"""The lab as a fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import running_lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Start a lab, and go to the folder that has its `drover.toml`."""
    with running_lab(tmp_path) as folder:
        monkeypatch.chdir(folder)
        yield folder
