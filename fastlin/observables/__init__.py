"""Observables: their registry, and their evaluation on trajectories of weights."""
