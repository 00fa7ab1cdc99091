"""Settings of all tests."""

import matplotlib
from hypothesis import settings

matplotlib.use("Agg")

# Examples are the same on every machine, and a first call may compile.
settings.register_profile("fastlin", deadline=None, derandomize=True, max_examples=60, print_blob=True)
settings.load_profile("fastlin")
