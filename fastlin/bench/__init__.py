"""`fastlin bench`: what this machine makes of fastlin, beside its peak and beside NumPy and JAX.

`measure` runs the measurements (`timing` says how, `flops` what a step takes, `rivals` what is compared
with, `widths` the cost against the hidden width, `sweep` the whole command), `report` writes them as a table.
"""
