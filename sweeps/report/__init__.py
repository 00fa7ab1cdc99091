"""A store as one web page that needs nothing else: to look at a sweep without Python, and to mail it."""

from fastlin.sweeps.report.page import check_file, write

__all__ = ["check_file", "write"]
