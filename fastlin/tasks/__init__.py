"""Tasks: statistics of data sets, given, structured, or made of another task."""
