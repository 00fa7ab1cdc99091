"""The command line, as `python -m fastlin`, but that no groups are joined."""

from fastlin import cli
from tests import cutting

if __name__ == "__main__":
    cutting.groups_apart()
    cli.main()
