"""The arrays of the dynamics of a vector of networks, by the step that owns them."""

from fastlin.kernels.compiler.workspace import Field, Workspace


class Dynamics(Workspace):
    """Rows of Q are inputs first. Rows of K are eigen-directions, fastest first."""

    # The point, from `balance`
    lam = Field()
    floor = Field()  # the least loss of a linear map
    s = Field("m")  # singular values of Sigma_yx, the diagonal of the target
    q0 = Field("n width")  # the start in the SVD basis of the task

    # The requested time, from `closed_form`
    time = Field()
    short = Field()  # 1 where steps of the march are short enough, 0 where each time takes a jump
    jumping = Field()  # 1 where this time takes a jump from the start, else 0
    q = Field("n width")  # Q at that time

    # The eigen-system of F and the start in it, from `eigenbasis` and `echelon`
    w = Field("n")  # eigenvalues
    excess_rate = Field("n")  # excess of positive eigenvalues over abs(lam) / 2, without cancellation
    cosine = Field("m")  # of the angle of the eigenvectors of +-r
    sine = Field("m")
    row_error = Field("n")  # rounding error of the rows of K
    k = Field("n width")  # K(0), in echelon form
    column_rate = Field("width")  # growth rate of a column, an eigenvalue
    column_excess = Field("width")  # excess of that eigenvalue

    # One jump, from `evolution`
    k_t = Field("n width")  # K(t)
    qr_rows = Field("n width")  # the rows that are triangularised

    # A march, from `march`
    state = Field("n width")  # V of the march, or the scaled weights of gradient descent
    power = Field("n")  # exp(w dt)
    root = Field("n")  # sqrt(phi(dt))
    to_cosine = Field("n")  # cosine / root and sine / root, which turn a state into Q
    to_sine = Field("n")
    pivots = Field("width")
    gram = Field("width width")

    # Gradient descent
    scaled = Field("m")  # singular values times the learning rate, or the step of the flow
    damping = Field("twice")  # decay of W1 and of W2 times the learning rate, or the step of the flow

    # Outputs, from `observables`
    outputs = Field("outputs")  # at a time
    recent = Field("outputs times_at_once")  # at the last times, whose outputs are written together
    nonfinite = Field()  # 0, or NaN from the first output that is not finite
    start = Field("norms")  # |W1|^2, |W2|^2 and the norm of the NTK at the start
    product = Field("large small")  # W2 W1 or its transpose, then its left singular vectors
    values = Field("small")  # its singular values
