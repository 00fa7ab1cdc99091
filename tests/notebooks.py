"""The notebooks: executed in an empty folder, and rendered again by `python -m tests.notebooks`."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from ipykernel.kernelspec import KERNEL_NAME
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "sweeps" / "notebooks"
SECONDS = 300  # for one cell, because the first run compiles kernels
# Pictures of a notebook have no metadata of the version of Matplotlib.
INLINE = 'c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Software": None}}\n'


def read(source):
    """Return the notebook of a percent source. It is the same each time."""
    notebook = jupytext.read(source)
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    return notebook


def execute(source):
    """Execute a percent source in an empty folder, and return the notebook with its outputs."""
    notebook = read(source)
    with TemporaryDirectory() as folder, TemporaryDirectory() as settings:
        profile = Path(settings, "profile_default")
        profile.mkdir()
        (profile / "ipython_config.py").write_text(INLINE)
        manager = AsyncKernelManager(
            kernel_name=KERNEL_NAME,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # so that the kernel is this interpreter
            transport="ipc",
            connection_file=f"{settings}/kernel.json",
        )
        environment = os.environ | {
            "IPYTHONDIR": settings,
            "MPLBACKEND": "inline",
        }
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=SECONDS,
            startup_timeout=SECONDS,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment, cleanup_kc=True)
    notebook.metadata.language_info = {"name": "python"}  # the kernel adds its version
    return notebook


def sources():
    """Return the percent sources."""
    return sorted(FOLDER.glob("*.py"))


def rendered(source):
    """Return the path of the notebook of a source."""
    return source.with_suffix(".ipynb")


def main():
    """Render every notebook again."""
    for source in sources():
        nbformat.write(execute(source), rendered(source))
        print(rendered(source).name)


if __name__ == "__main__":
    main()
