"""Helpers of the tests of executors: a function that is computed elsewhere, and a check of messages."""

import fastlin as fl


def scale_of_a_network(seed):
    """Return a number of a small network, which needs kernels."""
    net = fl.balanced_init(fl.Architecture(2, 2, 2), lam=1.0, seed=seed)
    return float(abs(net.w1).sum())


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)
