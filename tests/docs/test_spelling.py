"""The spelling of all texts, by the settings of codespell in pyproject.toml."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"

pytestmark = [
    pytest.mark.skipif(not README.exists(), reason="the texts are not beside an installed wheel's tests"),
    pytest.mark.skipif(
        importlib.util.find_spec("codespell_lib") is None, reason="codespell is in fastlin's extra test"
    ),
]


def faults(*paths):
    """Return the lines that codespell prints."""
    command = [sys.executable, "-m", "codespell_lib", "--toml", "pyproject.toml", *map(str, paths)]
    done = subprocess.run(command, cwd=README.parent, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_no_word_is_misspelt():
    assert faults(".") == []


@pytest.mark.parametrize("name", ["page.md", "module.py", "spec.toml"])
def test_a_misspelt_word_is_found(name, tmp_path):
    """In folders of the repository, too: no setting leaves these files out."""
    (tmp_path / name).write_text(f"{'teh'} network\n")
    assert len(faults(tmp_path)) == 1
