# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which networks are exact
#
# The closed form of fastlin holds for *balanced* networks on whitened inputs. A network with a standard
# initialisation is not balanced, and real data are not white. This notebook takes the default
# initialisation of PyTorch, and shows how near such a network is to an exact solution, and what else solves
# it. There are three solvers:
#
# * `fl.exact`, the closed form, where it holds;
# * `fl.flow`, which integrates the gradient flow of any weights on any data, to a tolerance;
# * `fl.gradient_descent`, which takes steps of a finite learning rate.

# %%
import matplotlib.pyplot as plt
import numpy as np

import fastlin as fl

np.set_printoptions(precision=3, suppress=True)
plt.rcParams.update(fl.plot.rc_params())  # the light theme of fastlin

# %% [markdown]
# ## The family of exact solutions
#
# With $Q = [W_1, W_2^\top]^\top$, $D = W_2^\top W_2 - W_1 W_1^\top$ and $J = \mathrm{diag}(I, -I)$, a
# network is balanced if
#
# $$Q \, (D - \lambda I) \, Q^\top = -\kappa^2 J.$$
#
# Training conserves this equation. $\kappa = 0$ is the balance of the paper, $D = \lambda I$ on the support
# of $Q$. With $\kappa > 0$ the balance is *two-sided*. It needs a wide network, $N_h \geq N_i + N_o$. Where
# the product $W_2 W_1$ is zero, such a network has $W_1^\top W_1 = \alpha I$ and $W_2 W_2^\top = \beta I$,
# with $\lambda = \beta - \alpha$ and $\kappa^2 = \alpha \beta$. To our knowledge, the closed form for
# $\kappa > 0$ is not published elsewhere.
#
# ## A network from PyTorch
#
# `torch.nn.Linear` draws its weights uniformly between $\pm 1 / \sqrt{\mathrm{fan\ in}}$. `random_init`
# draws from the same law with NumPy. We take one narrow and one wide network.

# %%
shapes = {"narrow": fl.Architecture(4, 2, 4), "wide": fl.Architecture(4, 64, 4)}
task = fl.random_regression(shapes["narrow"], n_samples=10, target_scale=np.sqrt(3), seed=1)
nets = {name: fl.random_init(shape, kind="torch", seed=1) for name, shape in shapes.items()}
for net in nets.values():
    print(net)

# %% [markdown]
# The balance of both is "none", so the closed form refuses them. Its message names the solver that takes
# them.

# %%
try:
    fl.exact(task, nets["wide"], times=[1.0])
except fl.InputError as error:
    print(error)

# %% [markdown]
# ## The nearest exact solution
#
# `fit` returns the $\lambda$ and $\kappa$ that fit the equation best, and the residual, which is 0 for an
# exact solution. `balanced_init` makes the network of this balance that has the same product $W_2 W_1$. The
# narrow network is too narrow for $\kappa > 0$.


# %%
def nearest(net):
    fit = net.fit()
    return fl.balanced_init(net.architecture, fit.lam, kappa=fit.kappa, weights=(net.w1, net.w2))


fits = {name: nearest(net) for name, net in nets.items()}
for name, net in nets.items():
    print(f"{name:6}  residual {net.fit().residual:.3f}   {fits[name]}")

# %% [markdown]
# The default of PyTorch has $\alpha = N_h / (3 N_i)$ and $\beta = 1/3$ in the mean, so that $\lambda$ falls
# with the width: **the layers of a wide network with this start are unequal, and the network is lazy.**
#
# ## Exact, flow and gradient descent
#
# The flow is the reference: its error is near the tolerance, $10^{-9}$. Gradient descent with $\eta = 0.01$
# starts from the same weights. The closed form starts from the fit.

# %%
times = np.append(0.0, np.geomspace(0.01, 40.0, 121))
names = ["loss", "kernel_distance", "w2w1"]
flows = {name: fl.flow(task, net, times, observables=names) for name, net in nets.items()}
exact = {name: fl.exact(task, net, times, names) for name, net in fits.items()}
steps = {name: fl.gradient_descent(task, net, 0.01, 4000, observables=names) for name, net in nets.items()}


# %%
def draw(row, ds, style, label):
    """Draw loss, kernel distance and singular values of a Dataset."""
    for ax, values in zip(
        row, (ds.loss, ds.kernel_distance, np.linalg.svd(ds.w2w1, compute_uv=False)), strict=True
    ):
        ax.semilogx(ds.time, values, style, markersize=4)[0].set_label(label)


fig, axes = plt.subplots(2, 3, figsize=(8, 5.4), sharex=True, layout="constrained")
for row, name in zip(axes, nets, strict=True):
    draw(row, flows[name], "C0-", "flow")
    draw(row, steps[name], "C1--", "gradient descent")
    draw(row, exact[name].isel(time=slice(1, None, 5)), "k.", "exact, of the fit")
    row[0].set_ylabel(f"{name}, {nets[name].architecture}")
for ax, title in zip(axes[0], ("loss", "kernel distance $S$", "singular values of $W_2 W_1$"), strict=True):
    ax.set_title(title)
for ax in axes[1]:
    ax.set_xlabel(r"time $t/\tau$")
axes[1, 1].ticklabel_format(axis="y", scilimits=(0, 0))
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %%
print("largest difference of the loss from that of the flow, over L(0)")
for name, ds in flows.items():
    to_fit = abs(exact[name].loss - ds.loss).max() / ds.loss[0]
    to_steps = abs(steps[name].loss.interp(time=times) - ds.loss).max() / ds.loss[0]
    print(f"{name:6}   exact, of the fit {float(to_fit):.3f}   gradient descent {float(to_steps):.3f}")

# %% [markdown]
# The narrow network is rich, and its fit takes another way: only the end of the map is the same. A narrow
# network with a standard start is therefore a case for `flow`. The wide network is lazy (its kernel
# distance has another scale), and the fit follows it to 2 % of the loss. The difference of gradient descent
# from the flow is in proportion to $\eta$, also for balanced networks.
#
# ## A balanced network is not the network that you had
#
# One can also balance the weights with $\kappa = 0$. This keeps the product $W_2 W_1$ and drops the width,
# with the large $W_1^\top W_1$ and $W_2 W_2^\top$ that make a wide network lazy. Both layers of a Xavier
# network are equally large, so that its $\lambda$ is near 0. Without the width that means rich. The table
# has kernel distances at $t/\tau = 40$.


# %%
def late_distance(solver, task, net):
    return float(solver(task, net, [40.0], observables=["kernel_distance"]).kernel_distance[0])


def late_distances(arch, kind, seed):
    """Return the kernel distance of raw weights, of their balance with kappa = 0, and of their fit."""
    task = fl.random_regression(arch, n_samples=20, target_scale=np.sqrt(3), seed=seed)
    raw = fl.random_init(arch, kind, seed=seed)
    one_sided = fl.balanced_init(arch, raw.fit().lam, weights=(raw.w1, raw.w2))
    return [
        late_distance(fl.flow, task, raw),
        late_distance(fl.exact, task, one_sided),
        late_distance(fl.exact, task, nearest(raw)),
    ]


print("mean of 20 networks     flow     kappa = 0   two-sided fit")
for arch, kind in (
    (fl.Architecture(4, 16, 4), "xavier"),
    (fl.Architecture(10, 100, 10), "xavier"),
    (fl.Architecture(10, 100, 10), "torch"),
):
    means = np.mean([late_distances(arch, kind, seed) for seed in range(20)], axis=0)
    print(f"{arch!s:>10} {kind:8}  " + "".join(f"{mean:11.5f}" for mean in means))

# %% [markdown]
# **Rebalancing with $\kappa = 0$ turns a lazy wide Xavier network into a rich one. The two-sided fit keeps it
# lazy.** The start of PyTorch stays lazy in both cases, because its $\lambda$ is large.
#
# ## The wider, the nearer
#
# The products $W_1^\top W_1$ and $W_2 W_2^\top$ of a wide random network are sums over $N_h$ hidden units.
# They come near to $\alpha I$ and $\beta I$, and the residual of the fit falls like $1 / \sqrt{N_h}$.

# %%
widths = 2 ** np.arange(4, 12)
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for kind in ("torch", "lecun", "xavier"):
    drawn = [
        [
            fl.random_init(fl.Architecture(4, int(n_h), 4), kind, seed=seed).fit().residual
            for seed in range(50)
        ]
        for n_h in widths
    ]
    residual = np.mean(drawn, axis=1)
    slope = np.polyfit(np.log(widths), np.log(residual), 1)[0]
    ax.loglog(widths, residual, "o-", markersize=4, label=f"{kind}: slope {slope:.2f}")
ax.loglog(widths, 0.3 / np.sqrt(widths), "k--", linewidth=1, label=r"$\propto 1 / \sqrt{N_h}$")
ax.set_xticks(widths, widths)
ax.minorticks_off()
ax.set(xlabel="$N_h$ of 4-$N_h$-4", ylabel="residual of the fit")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Which inputs are exact
#
# The closed form needs inputs whose $\Sigma_{xx} = X X^\top / P$ is the identity, a multiple of it, or a
# multiple of a projector. `task.inputs` tells which. The last case holds for dependent inputs and for one
# sample. The part of $W_1$ off the span of the inputs never learns then, and balance is needed on the span
# only. With `task=` the weights are drawn on the span of its inputs.

# %%
white = fl.random_regression(fl.Architecture(4, 2, 4), n_samples=10, target_scale=np.sqrt(3), seed=3)
mixing = np.diag([2.0, 1.0, 1.0, 0.5])
tasks = {
    "whitened inputs": white,
    "the same, three times as large": fl.Task(3.0 * white.X, white.Y),
    "one-hot inputs": fl.Task(np.eye(4), white.Y[:, :4]),
    "each input twice": fl.Task(np.concatenate([white.X, white.X]), white.Y),
    "a single sample": fl.Task(white.X[:, :1], white.Y[:, :1]),
    "inputs of unequal size": fl.Task(mixing @ white.X, white.Y),
}
moments = np.linspace(0.0, 10.0, 21)
for name, one in tasks.items():
    net = fl.balanced_init(fl.Architecture(one.n_i, 2, 4), lam=-1.0, init_scale=0.5, task=one)
    path = fl.flow(one, net, moments)
    try:
        same = np.allclose(fl.exact(one, net, moments).w2w1, path.w2w1, atol=1e-8)
        result = f"exact; as the flow, to 1e-8: {same}"
    except fl.InputError:
        result = "no closed form"
    print(f"{name:31} {one.inputs:10} {result}")

# %% [markdown]
# ## Whitening changes the problem
#
# `task.whiten()` makes any inputs exact. It also changes the dynamics: a large input is learned early, and
# whitening takes this order away. The three data sets of this picture are the same after whitening. The
# larger the condition number of $\Sigma_{xx}$ is, the more their own dynamics differ from those of the
# whitened task.

# %%
start = fl.balanced_init(fl.Architecture(4, 4, 4), lam=0.0, init_scale=0.1, seed=1)
moments = np.linspace(0.0, 40.0, 201)
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for condition in (1.5, 10.0, 100.0):
    variances = np.geomspace(1.0, condition, 4)
    raw = fl.Task(np.diag(np.sqrt(variances / variances.mean())) @ white.X, white.Y)
    loss = fl.flow(raw, start, moments, observables=["loss"]).loss
    ax.plot(moments, loss, label=f"condition number {condition:g}")
ax.plot(moments, fl.exact(raw.whiten(), start, moments, ["loss"]).loss, "k--", label="whitened, exact")
ax.set(xlabel=r"time $t/\tau$", ylabel=r"loss $\mathcal{L}$")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# `whiten` keeps its matrix: `task.whitening @ x` maps new inputs, and `w1 @ task.whitening` maps weights
# back to raw inputs.
#
# ## Where to go from here
#
# | network | inputs | solver |
# |-|-|-|
# | balanced, $\kappa \geq 0$ | whitened, isotropic or projector | `fl.exact` |
# | wide, standard start | whitened, isotropic or projector | `fl.exact` of its fit, or `fl.flow` of itself |
# | any | any | `fl.flow` |
# | any, with a learning rate, minibatches or noise | any | `fl.gradient_descent` |
#
# * `fastlin figure wide` draws the kernel distance over $\lambda$ and $\kappa$, with Gaussian networks in it.
# * `[dynamics] solver = "flow"` and `[init] balance = false` make a sweep over raw networks.
# * [One network](one-network.ipynb) explains the observables on a single network.
