"""Pages of the reference that are written from the code before each build."""

from __future__ import annotations

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the generated pages."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
