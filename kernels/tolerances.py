"""Tolerances and limits of the algorithms, each with its reason. `vector/` and `blas/` share them."""

EPSILON = 2.0**-52

# A rotation of a plane and a reflection have errors of a few units in the last place of the plane's norm.
ROUNDING = 8.0 * EPSILON

# Upper bound of a pivot's angular error, noise / pivot. Beyond it first-order error propagation is void.
MAX_ANGLE = 1e-6

# Longest step of a march, as 2 r dt. Pivots grow like exp(2 r dt), so the elimination loses digits beyond it.
LONGEST_STEP = 10.0

# Least share of a diagonal entry that the elimination of A may leave as a pivot, for kappa > 0. The error of
# a pivot is EPSILON divided by this share. Reflections have no such error, and take longer.
LEAST_PIVOT = 1e-3

# Variances of inputs that differ by less than this share are equal, and smaller ones are 0 beside them, as in
# `fastlin.tasks.moments`. Where they differ by more, variances that are no rounding errors count.
FLAT = 1e-9

# Gradient descent has diverged when |Q|^2 is this many times that of the start and the target. Descent that
# converges stays within a few times of these. So far above them the cubic term decides, and |Q|^2 grows on.
BLOW_UP = 1e4

# A start counts as converged when the excess of its loss is below this share of the sum of its terms.
AT_REST = 64.0 * EPSILON

# Time scales are searched up to 4 to this power times the time of the fastest mode. Beyond it they are
# infinite.
LONGEST_SEARCH = 100

# Relative width at which a bracket of a time scale counts as closed.
CLOSED = 4.0 * EPSILON

# Eigenvalues that differ by less than this times n and the largest are equal: the SVD cannot tell them apart.
TIE = 8.0 * EPSILON

# Columns count as orthogonal below this cosine. One-sided Jacobi converges quadratically, mostly in 6 to 9
# sweeps. `MAX_SWEEPS` ends it in any case.
ORTHOGONAL = 1e-15
MAX_SWEEPS = 30
