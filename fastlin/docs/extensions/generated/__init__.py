"""Pages that are written from the code and from the notebooks before each build.

They go into places that Git ignores. A file is only written if its content has changed, so that Sphinx does
not read it again otherwise.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import fastlin
from fastlin.cli import exit_codes
from fastlin.observables import reference as observables
from fastlin.sweeps.spec.reference import reference as spec
from generated import commands, names, presets

PLACES = ("reference/generated/*.inc", "reference/names/*.md", "tutorials/*.ipynb")  # also in .gitignore
NOTEBOOKS = Path(fastlin.__file__).parent / "sweeps" / "notebooks"


def texts() -> dict[str, str]:
    """Return the content of every generated file, by its path in the sources of the documentation."""
    tables = {
        "commands": commands.reference(),
        "exit-codes": exit_codes.table(),
        "names": names.overview(),
        "observables": observables.table(),
        "observables-of-stages": observables.table_of_stages(),
        "presets": presets.table(),
        "spec": spec(),
    }
    return {
        **{f"reference/generated/{name}.inc": text for name, text in tables.items()},  # pages include them
        **{f"reference/names/{name}.md": text for name, text in names.pages().items()},
        **{f"tutorials/{path.name}": _notebook(path) for path in NOTEBOOKS.glob("*.ipynb")},
    }


def _notebook(path: Path) -> str:
    """Return a notebook with the name of the lexer of its cells, which may have commands of the shell."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"]["language_info"]["pygments_lexer"] = "ipython3"
    return json.dumps(notebook)


def write(folder: Path) -> None:
    """Write all generated files into the sources of the documentation, and remove those of former builds."""
    wanted = {folder / name: text for name, text in texts().items()}
    for path in {file for place in PLACES for file in folder.glob(place)} - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _signature(_app: Sphinx, what: str, _name: str, value: Any, *_: Any) -> tuple[str, str] | None:
    """Return no arguments for a class whose docstring has no parameters: users do not construct it."""
    return ("", "") if what == "class" and "Parameters\n---" not in (inspect.getdoc(value) or "") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the files before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
