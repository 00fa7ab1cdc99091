"""`fastlin bench`: the speed of fastlin on this machine, compared with its peak, with NumPy, SciPy and JAX.

`measure` runs the measurements, `report` writes them as tables in Markdown, and `pages` puts them into files.
`timing` times code, `flops` counts its operations, `rivals` has the same computations in NumPy and JAX.
`two_sided` measures the closed form with kappa > 0, `flow` networks from raw weights, which `flow_rivals`
integrates by SciPy and by diffrax. `stacks` measures networks in Python beside a loop over them, `widths` the
cost against the hidden width, `sweep` the whole command. The room `compare` runs one sweep by fastlin and by
other tools.
"""
