"""A page for each public name, from its docstring, and their overview by the use that they have."""

from __future__ import annotations

import inspect
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import fastlin as fl
from fastlin.formatting import markdown_table
from fastlin.sweeps.read.accessor import SweepAccessor

# Titles of the overview, and the places in the package whose public names are below each.
GROUPS = {
    "Tasks": ("tasks.", "kinds.task_kinds.", "networks.stacks.Tasks"),
    "Networks": ("architecture.", "networks.", "kinds.starts."),
    "Solvers and observables": ("solutions.", "weights.", "observables."),
    "Sweeps": ("sweeps.spec.", "sweeps.run."),
    "Reading stores": ("sweeps.read.",),
    "Pictures": ("plot", "sweeps.explore"),
    "Warnings and errors": ("errors.",),
}
OTHERS = "Others"  # names of new places
ACCESSOR = "ds.fastlin"
DIRECTIVES = {  # of Sphinx, for each kind of object
    "exception": "autoexception:: {target}",
    "class": "autoclass:: {target}\n   :members:\n   :inherited-members:",
    "function": "autofunction:: {target}",
    "module": "automodule:: {target}",
    "data": "data:: {own}\n\n   {comment}\n\n.. autoclass:: fastlin.observables.registry.Observable",
}


def overview() -> str:
    """Return tables of all public names with one sentence each, as Markdown."""
    return "\n".join(_group(title, names) for title in (*GROUPS, OTHERS) if (names := _names(title)))


def pages() -> dict[str, str]:
    """Return the page of each public name as Markdown, by the name of its file."""
    return {_file(name): _page(name) for name in objects()}


def objects() -> dict[str, Any]:
    """Return every public object by its name, as a user writes it."""
    names = {f"fl.{name}": getattr(fl, name) for name in fl.__all__}
    names |= {f"fl.plot.{name}": getattr(fl.plot, name) for name in fl.plot.__all__}
    return names | {ACCESSOR: SweepAccessor}


def _names(title: str) -> list[str]:
    return [name for name in objects() if _title(_home(name)) == title]


def _title(home: str) -> str:
    return next((title for title, places in GROUPS.items() if home.startswith(places)), OTHERS)


def _home(name: str) -> str:
    """Return where a name is defined, without the name of the package."""
    if name == ACCESSOR:
        return f"sweeps.read.accessor.{SweepAccessor.__name__}"
    public = name.split(".")[1]
    return f"{fl._HOMES[public]}.{public}"


def _group(title: str, names: list[str]) -> str:
    rows = [(f"[`{name}`](names/{_file(name)}.md)", _sentence(name)) for name in names]
    files = "\n".join(f"names/{_file(name)}" for name in names)
    table = markdown_table(("name", "meaning"), rows)
    return f"## {title}\n\n{table}\n```{{toctree}}\n:hidden:\n\n{files}\n```\n"


def _file(name: str) -> str:
    """Return the name of a page. macOS and Windows take `plot.Pages` and `plot.pages` for one file."""
    same = [each for each in objects() if each.casefold() == name.casefold()]
    suffix = f"-{same.index(name) + 1}" if name != same[-1] else ""
    return name.removeprefix("fl.") + suffix


def _sentence(name: str) -> str:
    """Return the first line of a docstring. Double backticks are code in Markdown, too."""
    value = objects()[name]
    text = _comment(name) if _kind(value) == "data" else inspect.getdoc(value) or ""
    return text.partition("\n")[0].replace("|", r"\|")


def _page(name: str) -> str:
    value = objects()[name]
    kind = _kind(value)
    target = f"fastlin.{_home(name)}" if name == ACCESSOR else name.replace("fl.", "fastlin.", 1)
    directive = DIRECTIVES[kind].format(
        target=target, own=target.removeprefix("fastlin."), comment=_comment(name) if kind == "data" else ""
    )
    module = "fastlin.plot" if name.startswith("fl.plot.") else "fastlin"
    return f"# {name}\n\n```{{eval-rst}}\n.. currentmodule:: {module}\n\n.. {directive}\n```\n"


def _comment(name: str) -> str:
    """Return the comment that documents a constant in its module."""
    module, _, constant = f"fastlin.{_home(name)}".rpartition(".")
    return " ".join(ModuleAnalyzer.for_module(module).find_attr_docs()["", constant]).strip()


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isfunction(value) else "module" if inspect.ismodule(value) else "data"
