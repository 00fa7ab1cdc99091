"""The mathematics of one pair of weights, on arrays: balance, closed form, gradient flow, substitutions."""
