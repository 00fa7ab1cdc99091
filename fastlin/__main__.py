"""python -m fastlin."""

from fastlin.cli import main

main()
