"""Dynamics over time as a Dataset: exact, flow, gradient descent and sequences, of one network or a stack."""
