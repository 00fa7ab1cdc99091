"""The README. `python -m tests.readme` writes its tables again."""

import re
from pathlib import Path

from fastlin.cli import exit_codes
from fastlin.observables import reference as observables

README = Path(__file__).parents[1] / "README.md"


def section(title: str) -> str:
    """Return one section of the README."""
    text = README.read_text()
    start = text.index(f"\n## {title}\n")
    return text[start : text.index("\n## ", start + 1)]


def blocks(language: str) -> list[str]:
    """Return all code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


TABLES = {"observables": observables.table, "exit codes": exit_codes.table}


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
