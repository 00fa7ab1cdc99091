# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One network: the closed form against gradient descent
#
# A two-layer linear network $\hat{y} = W_2 W_1 x$ computes a linear map, as a single matrix does. Its
# *learning* is not linear: it goes in stages, with plateaus in between, and builds a hidden representation on
# the way. The training can be solved exactly. fastlin evaluates that solution at any time without taking a
# step.
#
# Here we follow one small network from its first weights to the end of training, and check the solution
# against plain gradient descent.

# %%
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from IPython.display import Image

import fastlin as fl

_ = xr.set_options(display_style="text", display_expand_attrs=False)
np.set_printoptions(precision=3, suppress=True)
plt.rcParams.update(fl.plot.rc_params())  # the light theme of fastlin

# %% [markdown]
# ## A task with structure
#
# There are four things: two animals and two plants. Each has or lacks seven properties (a classic of semantic
# cognition, after Rumelhart; Saxe et al. 2019). A network maps things to properties. Its training depends on
# the data only through the correlation of inputs and outputs, $\Sigma_{yx} = Y X^\top / P$. The singular
# values $s_a$ of this matrix are the strengths of the distinctions: common to all things, animal or plant,
# and within each kind.
#
# One-hot inputs are white after scaling, $X X^\top / P = I$, as the paper assumes.

# %%
things = ["canary", "salmon", "oak", "rose"]
properties = ["grows", "moves", "has roots", "flies", "swims", "has leaves", "has petals"]
Y = np.array(
    [
        [1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 1.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
task = fl.Task(np.sqrt(4) * np.eye(4), Y)
strengths = np.linalg.svd(task.sigma_yx, compute_uv=False)
strengths

# %% [markdown]
# ## A balanced network
#
# The network is a bottleneck: four inputs, **two** hidden units, seven outputs. Its start must be
# $\lambda$-balanced,
#
# $$W_2^\top W_2 - W_1 W_1^\top = \lambda I,$$
#
# and training conserves this balance. $\lambda$ measures how unequal the two layers are: the input weights
# are larger for $\lambda < 0$, and the output weights for $\lambda > 0$. `balanced_init` draws Gaussian
# weights of standard deviation `init_scale`. It then balances them without changing their product, which is
# the map that the network computes.

# %%
arch = fl.Architecture(n_i=4, n_h=2, n_o=7)
net = fl.balanced_init(arch, lam=-1.0, init_scale=0.3, seed=2)
print(net)
np.allclose(net.w2.T @ net.w2 - net.w1 @ net.w1.T, -1.0 * np.eye(arch.n_h))

# %% [markdown]
# ## Two ways to train it
#
# Gradient descent takes 2,000 steps of $\eta = 0.01$. The closed form is evaluated at some of the same times,
# in units of $t/\tau = \eta \times$ step. Both return an `xarray.Dataset` with the same variables. Each
# variable has its equation as an attribute. The neural tangent kernel (NTK) is large, so it is computed only
# if it is named.

# %%
names = ["loss", "network_function", "w1tw1", "w2w2t", "ntk"]
gd = fl.gradient_descent(task, net, learning_rate=0.01, steps=2000, every=10, observables=names)
exact = fl.exact(task, net, times=gd.time, observables=names)
exact

# %%
exact.ntk.attrs["equation"]

# %% [markdown]
# The picture has the style of Figure 1 of the paper: broad lines are gradient descent, and thin black lines
# with dots are the closed form. Nine entries of each matrix are drawn.

# %%
fl.plot.dynamics(exact, gd)
plt.show()

# %% [markdown]
# ## The difference between them
#
# The closed form solves gradient flow, $\eta \to 0$. A finite learning rate leaves a difference that should
# shrink in proportion to $\eta$: half the rate, half the difference. Otherwise one of the two would be wrong.

# %%
print("  eta   largest difference of W2 W1   over eta")
for eta in (0.04, 0.02, 0.01, 0.005):
    steps = round(20 / eta)
    descent = fl.gradient_descent(task, net, eta, steps, every=round(0.2 / eta), observables=["w2w1"])
    flow = fl.exact(task, net, descent.time, observables=["w2w1"])
    difference = float(abs(descent.w2w1 - flow.w2w1).max())
    print(f"{eta:5.3f}   {difference:27.4f}   {difference / eta:8.2f}")

# %% [markdown]
# ## Plateaus, and what a bottleneck cannot learn
#
# The next network starts near zero, with equal layers ($\lambda = 0$). It learns one distinction after the
# other, the strongest first, and the loss has a plateau in between. The first plateau is the loss of the zero
# map, and the second is the loss without the second mode. Two hidden units hold two modes, so the loss ends
# at
#
# $$L_\infty = L_\mathrm{floor} + \tfrac{1}{2} \sum_{a > N_h} s_a^2,$$
#
# where $L_\mathrm{floor}$ is the loss of the best linear map (here 0). With as many hidden units as modes the
# network would learn all of them. `np.inf` is a valid time: the limit is evaluated directly.

# %%
small = fl.balanced_init(arch, lam=0.0, init_scale=0.003, seed=2)
times = np.linspace(0.0, 20.0, 401)
learning = fl.exact(task, small, times)
plateaus = [task.loss_floor + 0.5 * np.sum(strengths[modes:] ** 2) for modes in range(arch.n_h + 1)]
end = float(fl.exact(task, small, [np.inf], observables=["loss"]).loss[0])
print("plateaus:", np.array(plateaus), " end:", round(end, 12))

# %%
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(learning.time, learning.loss)
for modes, level in enumerate(plateaus):
    ax.axhline(level, color="0.6", linestyle="--", linewidth=1, zorder=0)
    ax.text(20, level + 0.02, f"{modes} of {strengths.size} modes", ha="right", color="0.4")
ax.set(xlabel=r"time $t/\tau$", ylabel=r"loss $\mathcal{L}$", ylim=(0, 1.65))
plt.show()

# %% [markdown]
# With $\lambda = 0$, $N_i = N_o$ and no bottleneck, about half of all starts end at a saddle, because the
# sign of $\det(W_2 W_1)$ is conserved along the flow. fastlin stays at the saddle, as the flow does, and
# warns at $t = \infty$.
#
# ## Three time scales
#
# Each network has three time scales in closed form, without a grid of times:
#
# * `escape_time`: the first mode leaves the saddle at zero,
# * `rotation_time`: the slowest rotation of the hidden units towards their final modes,
# * `convergence_time`: 99 % of the loss that this width can lose is gone.
#
# Two networks show why all three are needed. The balanced network near zero waits for the escape. With
# $\lambda = -4$ there is no such wait: the small output weights soon read out the map that the large input
# weights allow. The rest of the learning takes as long as the rotation of the input weights.

# %%
scales = {"escape_time": ":", "rotation_time": "-.", "convergence_time": "--"}
unequal = fl.balanced_init(arch, lam=-4.0, init_scale=0.1, seed=2)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, one in zip(axes, (small, unequal), strict=True):
    result = fl.exact(task, one, np.linspace(0.0, 50.0, 501), observables=["loss", *scales])
    ax.plot(result.time, result.loss, color="C0")
    for name, style in scales.items():
        when = float(result[name])
        ax.axvline(when, color="0.3", linestyle=style, label=f"{name.replace('_', ' ')} {when:.1f}")
    ax.set(xlabel=r"time $t/\tau$", title=rf"$\lambda = {one.lam:g}$")
    ax.legend(loc="upper center")
axes[0].set_ylabel(r"loss $\mathcal{L}$")
plt.show()

# %% [markdown]
# ## The representation of the hidden layer over time
#
# The representational similarity of the inputs, $\mathrm{RSM}_I = X^\top W_1^\top W_1 X$, compares things by
# their hidden activity, as one compares stimuli by the activity of neurons. At first all things are alike.
# Then animals and plants separate into two blocks. The two animals stay alike, because their difference is a
# third mode, and two hidden units hold only two.

# %%
shown = learning.sel(time=[0, 4, 6, 8, 10, 20], method="nearest")
fl.plot.matrices(shown.rsm_input, labels=things)
plt.show()

# %% [markdown]
# The network function shows the consequence. The network assigns the properties of each animal to both
# animals, at half strength. It predicts "swims" with one half for the canary.

# %%
panels = fl.plot.matrices(shown.network_function, labels=things)
for ax in panels[::3]:
    ax.set(ylabel="", yticks=range(7), yticklabels=properties)
plt.show()

# %% [markdown]
# With $\lambda = -4$ the same layer starts from large similarities that the random weights have set. The
# network first learns *with* them, and changes them later.

# %%
slow = fl.exact(task, unequal, [0, 1, 5, 10, 40, 400])
fl.plot.matrices(slow.rsm_input, labels=things)
plt.show()

# %% [markdown]
# The NTK, $K = I \otimes X^\top W_1^\top W_1 X + W_2 W_2^\top \otimes X^\top X$, describes how a step on one
# example changes the answer to another. It has 7 by 7 blocks, one for each pair of properties. Each block is
# a matrix over the four things. The kernel distance measures how far the NTK has turned from its start:
#
# $$S(t) = 1 - \frac{\langle K_0, K_t \rangle}{|K_0| \, |K_t|}.$$
#
# A network is *lazy* if its kernel stays, and *rich* if its kernel turns, because it then learns features.

# %%
moments = [0, 4, 6, 8, 10, 20]
kernels = fl.exact(task, small, moments, observables=["ntk", "kernel_distance"])
panels = fl.plot.matrices(kernels.ntk)
for ax, distance in zip(panels, kernels.kernel_distance.values, strict=True):
    ax.set_title(f"{ax.get_title()}, $S = {distance:.2f}$", fontsize="medium")
plt.show()

# %% [markdown]
# ## Everything at once
#
# With $Q = [W_1, W_2^\top]^\top$, one matrix holds all second-order statistics of the weights,
#
# $$Q Q^\top = \begin{pmatrix} W_1^\top W_1 & W_1^\top W_2^\top \\ W_2 W_1 & W_2 W_2^\top \end{pmatrix},$$
#
# and the closed form gives this matrix. In the animation lines separate the blocks. The map $W_2 W_1$ is at
# the lower left.

# %%
fig, ax = plt.subplots(figsize=(3.8, 3.2), layout="constrained")
film = fl.plot.animation(learning.qqt.sel(time=slice(2, 12)), ax=ax, frames=12)
ax.axhline(3.5, color="k", linewidth=0.8)
ax.axvline(3.5, color="k", linewidth=0.8)
film.save("qqt.gif", writer="pillow", dpi=70)
plt.close(fig)
Image("qqt.gif")

# %% [markdown]
# ## Where to go from here
#
# * Change `n_h` to 4, and compare the plateaus and the similarities.
# * Use your own data, `fl.Task(x, y)`, and weights, `fl.Network(w1, w2)`. [Which networks are
#   exact](which-networks-are-exact.ipynb) shows which solver takes them.
# * `fl.OBSERVABLES` lists all observables of a network with their equations.
# * [A phase diagram from a store](phase-diagram.ipynb) studies thousands of networks at once.
