"""A page for each public name, from its docstring, and their overview by the use that they have."""

from __future__ import annotations

import inspect
from typing import Any

import fastlin as fl
from fastlin.formatting import markdown_table
from fastlin.sweeps.read.accessor import SweepAccessor

# Titles of the overview, and the places in the package whose public names are below each.
GROUPS = {
    "Networks": ("architecture", "networks.", "kinds.starts"),
    "Tasks": ("tasks.", "kinds.task_kinds"),
    "Solvers and observables": ("solutions.", "weights.", "observables."),
    "Sweeps": ("sweeps.spec.", "sweeps.run."),
    "Reading stores": ("sweeps.read.",),
    "Pictures": ("plot", "explore", "sweeps.explore"),
    "Warnings and errors": ("errors",),
}
OTHERS = "Others"  # names of new places
ACCESSOR = "ds.fastlin"
DIRECTIVES = {  # of Sphinx, for each kind of object
    "exception": "autoexception:: {}",
    "class": "autoclass:: {}\n   :members:\n   :inherited-members:",
    "function": "autofunction:: {}",
    "module": "automodule:: {}",
    "data": "autodata:: {}\n   :no-value:",
}


def overview() -> str:
    """Return tables of all public names with one sentence each, as Markdown."""
    return "\n".join(_group(title, list(names)) for title in (*GROUPS, OTHERS) if (names := _names(title)))


def pages() -> dict[str, str]:
    """Return the page of each public name as Markdown, by the name of its file."""
    every = [name for title in (*GROUPS, OTHERS) for name in _names(title)]
    return {_file(name): _page(name) for name in every}


def objects() -> dict[str, Any]:
    """Return every public object by its name, as a user writes it."""
    names = {f"fl.{name}": getattr(fl, name) for name in fl.__all__}
    names |= {f"fl.plot.{name}": getattr(fl.plot, name) for name in fl.plot.__all__}
    return names | {ACCESSOR: SweepAccessor}


def _names(title: str) -> list[str]:
    return [name for name in objects() if _title(name) == title]


def _title(name: str) -> str:
    """Return the title under which a name is listed."""
    home = "sweeps.read." if name == ACCESSOR else fl._HOMES[name.split(".")[1]]
    return next((title for title, places in GROUPS.items() if home.startswith(places)), OTHERS)


def _group(title: str, names: list[str]) -> str:
    rows = [(f"[`{name}`](names/{_file(name)}.md)", _sentence(objects()[name])) for name in names]
    files = "\n".join(f"names/{_file(name)}" for name in names)
    return f"## {title}\n\n{markdown_table(('name', 'meaning'), rows)}\n```{{toctree}}\n:hidden:\n\n{files}\n```\n"


def _file(name: str) -> str:
    return name.removeprefix("fl.")


def _sentence(value: Any) -> str:
    """Return the first line of a docstring. Double backticks are code in Markdown, too."""
    return (inspect.getdoc(value) or "").partition("\n")[0].replace("|", r"\|")


def _page(name: str) -> str:
    value = objects()[name]
    target = f"{value.__module__}.{value.__qualname__}" if name == ACCESSOR else name.replace("fl.", "fastlin.", 1)
    directive = DIRECTIVES[_kind(value)].format(target)
    module = "fastlin.plot" if name.startswith("fl.plot.") else "fastlin"
    return f"# {name}\n\n```{{eval-rst}}\n.. currentmodule:: {module}\n\n.. {directive}\n```\n"


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isfunction(value) else "module" if inspect.ismodule(value) else "data"
