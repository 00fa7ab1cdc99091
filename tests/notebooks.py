"""The notebooks: run as a reader would, and rendered anew by `python -m tests.notebooks`."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "sweeps" / "notebooks"


def read(source):
    """Return the notebook of a percent source, with identifiers that are the same each time."""
    notebook = jupytext.read(source)
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook


def execute(source):
    """Run a percent source on this interpreter, in an empty folder, and return it with its outputs."""
    notebook = read(source)
    with TemporaryDirectory() as folder, TemporaryDirectory() as settings:
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # without folders: this interpreter
            transport="ipc",
            ip=f"{settings}/kernel",
        )
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "IPYTHONDIR": settings,
            "MPLBACKEND": "inline",
        }
        client = NotebookClient(
            notebook, km=manager, timeout=120, record_timing=False, resources={"metadata": {"path": folder}}
        )
        client.execute(env=environment, cleanup_kc=True)
    return notebook


def main():
    """Render every notebook anew."""
    for source in sorted(FOLDER.glob("*.py")):
        notebook = execute(source)
        nbformat.write(notebook, source.with_suffix(".ipynb"))
        print(source.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main()
