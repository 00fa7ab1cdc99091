"""`fastlin bench`: the speed of fastlin on this machine, compared with its peak, with NumPy and with JAX.

`measure` runs the measurements, and `report` writes them as a table. `timing` times code, `flops` counts its
operations, `rivals` has the same computations in NumPy and JAX. `widths` measures the cost against the hidden
width, `sweep` the whole command.
"""
