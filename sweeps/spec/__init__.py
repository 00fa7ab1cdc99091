"""The spec of a sweep: its table of keys, its axes, its reduction over seeds, and its growth."""
