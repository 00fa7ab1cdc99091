"""A store as one self-contained web page, for readers without Python."""

from fastlin.sweeps.report.page import check_file, write

__all__ = ["check_file", "write"]
