"""The README and the reference of specs. `python -m tests.readme` writes their tables again."""

import re
from pathlib import Path

from fastlin.cli import exit_codes
from fastlin.observables.registry import REGISTRY
from fastlin.sweeps.spec.reference import reference

README = Path(__file__).parents[1] / "README.md"
REFERENCE = README.parent / "fastlin" / "docs" / "reference" / "spec.md"


def section(title: str) -> str:
    """Return one section of the README."""
    text = README.read_text()
    start = text.index(f"\n## {title}\n")
    return text[start : text.index("\n## ", start + 1)]


def blocks(language: str) -> list[str]:
    """Return all code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def observables() -> str:
    """Return the registry of observables as a table."""
    rows = [("observable", "what it is", "equation", "in a sweep"), ("-" * 3,) * 4]
    for name, entry in REGISTRY.items():
        swept = "yes" if entry.swept else ""
        shape = f" ({', '.join(entry.dims)})" if entry.dims else ""
        equation = f"`{entry.equation}`".replace("|", r"\|")
        rows.append((f"`{name}`{shape}", entry.doc, equation, swept))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


TABLES = {"observables": observables, "exit codes": exit_codes.table}


def ends(name: str) -> tuple[str, str]:
    """Return the comments that mark the start and the end of a table."""
    return f"<!-- {name} -->\n", f"<!-- /{name} -->"


def present(name: str) -> str:
    """Return a table as it is in the README now."""
    text = README.read_text()
    start, end = ends(name)
    return text[text.index(start) + len(start) : text.index(end)]


if __name__ == "__main__":
    for name, table in TABLES.items():
        start, _ = ends(name)
        README.write_text(README.read_text().replace(start + present(name), start + table()))
    REFERENCE.write_text(reference(), encoding="utf-8")
