"""A sweep as it is asked for: its spec, its axes, its reduction over seeds, and the specs that extend it."""
