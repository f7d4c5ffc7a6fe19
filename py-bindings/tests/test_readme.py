"""README's Python snippet does what it says."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_snippet_runs_from_its_first_line_to_its_last(lab: Path) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", snippet], cwd=lab, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "2 of 2 rehearsals done" in ran.stdout
    assert re.search(r"^stage 1 took \d+ ms$", ran.stdout, re.MULTILINE)
