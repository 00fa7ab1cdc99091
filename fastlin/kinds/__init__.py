"""Tasks and starts that a seed or the user decides: kinds, their parameters, own data, and own weights."""
