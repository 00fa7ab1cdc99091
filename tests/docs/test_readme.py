"""The README: it is short, and its commands run as they are written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault_injection import PATIENCE

README = Path(__file__).parents[2] / "README.md"
MOST_WORDS = 1500
pytestmark = pytest.mark.skipif(
    not README.exists(), reason="the README is not beside an installed wheel's tests"
)


def blocks(language):
    """Return all code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def test_it_is_short():
    assert len(README.read_text().split()) <= MOST_WORDS


def test_links_resolve():
    links = re.findall(r"\]\(([^)#][^)]*)\)", README.read_text())
    assert len(links) > 5
    assert not [
        link for link in links if not re.match("https?:", link) and not (README.parent / link).exists()
    ]


def test_every_block_is_run():
    """.ci/run runs the two blocks of installation. The tests below run all others."""
    kinds = re.findall(r"^```(\w+)$", README.read_text(), re.MULTILINE)
    assert {name: kinds.count(name) for name in kinds} == {"sh": 2, "python": 1, "console": 1}
    assert len(re.findall(r"^```$", README.read_text(), re.MULTILINE)) == len(kinds)


def test_its_python(capsys):
    (block,) = blocks("python")
    assert len(block.splitlines()) <= 12
    names = {}
    exec(block, names)
    assert float(capsys.readouterr().out.splitlines()[0]) < 10 * 0.009
    assert names["raw"].time.equals(names["gd"].time)


@pytest.mark.slow
@pytest.mark.processes
def test_its_sweep(tmp_path):
    (block,) = blocks("console")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in block.splitlines():
        command = line.removeprefix("$ ").partition("#")[0]
        subprocess.run(
            command, shell=True, cwd=tmp_path, check=True, timeout=PATIENCE, env=os.environ | {"PATH": path}
        )
    assert (tmp_path / "mine.zarr" / "zarr.json").exists()
    assert (tmp_path / "mine.png").stat().st_size > 10_000
