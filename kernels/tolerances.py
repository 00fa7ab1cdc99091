"""Tolerances and limits of the algorithms, each with its reason. The vector and the BLAS tier share them."""

EPSILON = 2.0**-52

# A rotation of a plane and a reflection err by a few units in the last place of the plane's norm.
ROUNDING = 8.0 * EPSILON

# Upper bound of a pivot's angular error, noise / pivot. Beyond it first-order error propagation is void.
MAX_ANGLE = 1e-6

# Longest step of a march, as 2 r dt. Beyond it the elimination loses digits (DESIGN, section 2).
LONGEST_STEP = 10.0

# Gradient descent has diverged when |Q|^2 is this many times the start and the target. Descent that
# converges keeps |Q|^2 within a few times of these. This far above, cubic growth has taken over.
BLOW_UP = 1e4

# A start counts as converged when the excess of its loss is below this share of the sum of its terms.
AT_REST = 64.0 * EPSILON

# Time scales are searched up to 4 to this power times the time of the fastest mode, and are infinite beyond.
LONGEST_SEARCH = 100

# Relative width at which a bracket of a time scale counts as closed.
CLOSED = 4.0 * EPSILON

# Eigenvalues that differ by less than this times n and the largest are equal: the SVD cannot tell them apart.
TIE = 8.0 * EPSILON

# Columns count as orthogonal below this cosine. One-sided Jacobi converges quadratically: 6 to 9 sweeps are
# usual, and `MAX_SWEEPS` ends it in any case.
ORTHOGONAL = 1e-15
MAX_SWEEPS = 30
