"""Tables and numbers in Markdown."""

from fastlin.formatting import markdown_table


def tabulated(head: list[str], rows: dict[str, list[str]]) -> list[str]:
    """Return the lines of a table: its head, and rows by the name in their first column."""
    return markdown_table(head, [[name, *row] for name, row in rows.items()]).splitlines()


def ratio(value: float | None) -> str:
    """Return a ratio, or nothing if there is none."""
    return "" if value is None else f"{number(value)}x"


def number(value: float) -> str:
    """Return a number with three digits, or all digits before the point."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """Return a fraction in percent, or nothing if there is none."""
    return "" if value is None else f"{value:.0%}"
