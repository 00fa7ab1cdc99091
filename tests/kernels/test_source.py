"""The hash of the kernels' sources changes with an operation, and not with a comment."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastlin as fl
from fastlin.kernels import source

ROOT = Path(fl.__file__).parent
SAME = """
def double(x):
    return 2.0 * x + (1, None)[0]
"""
COMMENTED = '''
"""A module."""


def double(
    x,
):
    """Return twice a number."""
    # plain
    return (2.0 * x) + (
        1,
        None,
    )[0]  # and one more
'''


def hashed(text):
    return source.syntax(ast.parse(text))


def test_comments_docstrings_and_layout_do_not_count():
    assert hashed(SAME) == hashed(COMMENTED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.0", "2"),
        ("2.0", "2.5"),
        ("*", "/"),
        ("(1, None)[0]", "(1, None)[1]"),
        ("(1, None)", "(1, 'None')"),
        ("double", "triple"),
        ("x)", "x=None)"),
    ],
)
def test_operations_numbers_and_names_count(old, new):
    assert old in SAME
    assert hashed(SAME) != hashed(SAME.replace(old, new))


def test_fields_that_are_empty_in_some_versions_of_python_do_not_count():
    """Python 3.12 gave functions and classes the field `type_params`, which is empty in these sources."""
    tree = ast.parse(SAME)
    for node in ast.walk(tree):
        node._fields = (*node._fields, "type_params", "added")
        node.type_params, node.added = [], None
    assert source.syntax(tree) == hashed(SAME)


@pytest.mark.processes
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_versions_of_python_agree(version):
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    python = str(pyenv[0]) if pyenv else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"no Python {version}")
    probe = "import runpy, sys; print(runpy.run_path(sys.argv[1])['syntax_hash']())"
    done = subprocess.run([python, "-c", probe, source.__file__], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == source.syntax_hash()


def edit(root, name, old, new):
    path = root / "fastlin" / "kernels" / name
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.processes
def test_a_store_outlives_an_edited_comment_and_no_edited_operation(tmp_path):
    """The sources are edited in a copy of the package."""
    shutil.copytree(ROOT, tmp_path / "fastlin", ignore=shutil.ignore_patterns("__pycache__"))
    spec = tmp_path / "s.toml"
    spec.write_text(
        "[axes]\narchitecture = [[2, 1, 2]]\nseed = { start = 0, num = 2 }\nlam = [0.0]\n"
        "[task]\nn_samples = 4\n[dynamics]\ntimes = [0.0, 1.0]\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "fastlin", "run", "s.toml", "--store", "s.zarr"]

    def run():
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stderr

    assert run()[0] == 0
    edit(
        tmp_path,
        "vector/balance.py",
        "    sizes, at = code.sizes, Record(code.sizes)\n    ws.floor",
        "\n\n    # The task.\n    sizes, at = code.sizes, Record(code.sizes)\n    ws.floor",
    )
    edit(
        tmp_path,
        "codes.py",
        '"""State of one point of a sweep."""',
        '"""The state\n\n    of a point.\n    """',
    )
    assert run()[0] == 0
    edit(tmp_path, "vector/balance.py", "+ 0.5 * absolute(lam)", "+ 0.7 * absolute(lam)")
    code, error = run()
    assert code == 2
    assert "was written by other versions" in error
    assert "\n  kernels: the store has " in error
