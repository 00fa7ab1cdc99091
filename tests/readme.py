"""The README: its parts, and the table of observables, which `python -m tests.readme` writes anew."""

import re
from pathlib import Path

from fastlin.observables import REGISTRY

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- observables -->\n", "<!-- /observables -->"


def section(title: str) -> str:
    """Return one section of the README."""
    text = README.read_text()
    start = text.index(f"\n## {title}\n")
    return text[start : text.index("\n## ", start + 1)]


def blocks(language: str) -> list[str]:
    """Return all blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def table() -> str:
    """Return the registry of observables as a table."""
    rows = [("observable", "what it is", "equation", "in a sweep"), ("-" * 3,) * 4]
    for name, entry in REGISTRY.items():
        swept = "yes" if entry.swept else ""
        shape = f" ({', '.join(entry.dims)})" if entry.dims else ""
        equation = f"`{entry.equation}`".replace("|", r"\|")
        rows.append((f"`{name}`{shape}", entry.doc, equation, swept))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def present_table() -> str:
    """Return the table that the README has."""
    text = README.read_text()
    return text[text.index(START) + len(START) : text.index(END)]


if __name__ == "__main__":
    README.write_text(README.read_text().replace(START + present_table(), START + table()))
