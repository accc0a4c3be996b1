"""Work and precision: what an error costs, in seconds and in products with n × n matrices, by every solver at hand."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from replication.costs import LeastSquares
from replication.datasets import angle_grid, circle
from replication.network import Network
from replication.tangent import tangent_kernel
from replication.training import GradientDescent, GradientFlow, Solver
from replication.weights import DeferredWeight, DenseWeight, Weight

from .figure_1 import NO_CHANGE, TOLERANCE, T, figure_1, tensors, train
from .harness import Row

TOLERANCES = [4 * TOLERANCE, TOLERANCE, TOLERANCE / 4, TOLERANCE / 16]
"""Of gradient flow; in ``SLOW`` networks the first three."""
RATES = [4.0, 2.0, 1.0, 0.5]
"""Of gradient descent, which is Euler's method; in ``SLOW`` networks the first two."""
REFERENCE = TOLERANCE / 50
"""Of the coarser reference; in ``SLOW`` networks ``ROUGH`` times as much."""
ROUGH = 10
OUTSIDE = [1e-4, 1e-5]
"""Tolerances of scipy's DOP853, relative and absolute, of every parameter. LSODA would need a dense Jacobian: 264 GB at
n = 300."""
STAGES = 20
"""Vectors of parameters that DOP853 holds."""
LARGEST = 2**30
"""Bytes that it may take."""
SLOW = 3000
"""Wider networks take seconds a step."""


class CountingWeight(DenseWeight):
    """A matrix that counts its products with N vectors: of the forward pass, of the backward pass, and the updates."""

    def __init__(self, values: Tensor, products: Counter[str]):
        super().__init__(values)
        self.products = products

    def apply(self, v: Tensor) -> Tensor:
        self.products["forward"] += 1
        return super().apply(v)

    def apply_transpose(self, v: Tensor) -> Tensor:
        self.products["backward"] += 1
        return super().apply_transpose(v)

    def update(self, left: Tensor, right: Tensor, scale: float) -> None:
        self.products["update"] += 1
        super().update(left, right, scale)


def counted(
    like: Network,
    parameters: Sequence[Tensor],
    products: Counter[str],
    hold: Callable[[DenseWeight], Weight] = lambda matrix: matrix,
) -> Network:
    """The network with these parameters, W⁽⁰⁾, …, b⁽⁰⁾, …, in place; products with its hidden matrices are counted.

    hold: how the hidden matrices are held.
    """
    matrices, biases = parameters[: like.depth], parameters[like.depth :]
    hidden = [hold(CountingWeight(values, products)) for values in matrices[1:-1]]
    weights = [DenseWeight(matrices[0]), *hidden, DenseWeight(matrices[-1])]
    return Network(weights, list(biases), like.nonlinearity, like.beta)


class Outside:
    """∂_tθ = −∂_θ(C∘F) as scipy wants it: a vector (P,) of all parameters, float64, and its derivative in time."""

    def __init__(self, like: Network, x: Tensor, cost: LeastSquares, products: Counter[str]):
        self.like, self.x, self.cost, self.products = like, x, cost, products

    def network(self, theta: Any) -> Network:
        """The network whose parameters are views of an array (P,)."""
        shapes = [tensor.shape for tensor in tensors(self.like)]
        parts = torch.split(torch.from_numpy(theta), [shape.numel() for shape in shapes])
        parameters = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return counted(self.like, parameters, self.products)

    def slope(self, _: float, theta: Any) -> Any:
        network, slope = self.network(theta), torch.zeros(len(theta), dtype=torch.float64).numpy()
        forward = network.forward(self.x)
        direction = self.cost.direction(forward.output) / -len(self.x)
        self.network(slope).update(forward, network.backward(forward, direction), 1.0)
        return slope

    def train(self, tolerance: float, drawn: Sequence[Tensor]) -> "Trained":
        """By DOP853. Raises RuntimeError if it fails."""
        from scipy.integrate import DOP853

        theta = torch.cat([tensor.flatten() for tensor in drawn]).double().numpy()
        solver = DOP853(self.slope, 0.0, theta, T, rtol=tolerance, atol=tolerance)
        steps = 0
        while solver.status == "running":
            solver.step()
            steps += 1
        if solver.status == "failed":
            raise RuntimeError(f"DOP853 with tolerance {tolerance:g} fails at t = {solver.t:g}")
        return Trained(self.network(solver.y.copy()), steps)


class Trained(NamedTuple):
    """A network at t = T, and the number of steps that it took."""

    network: Network
    steps: int


Run = Callable[[], Trained]


def runs(like: Network, x: Tensor, cost: LeastSquares, products: Counter[str]) -> Iterator[tuple[str, float, Run]]:
    """(solver, its tolerance or rate, what trains the network by it); the first two are the reference, coarse and fine.

    Networks are float32 as in Figure 1, but for the reference and what scipy trains, which are float64.
    """
    drawn, few = tensors(like), like.widths[1] > SLOW

    def train_by(solver: Solver, dtype: torch.dtype = torch.float32, hold: Any = lambda matrix: matrix) -> Trained:
        network = counted(like, [tensor.to(dtype, copy=True) for tensor in drawn], products, hold)
        return Trained(network, train(solver, network, x, cost)[0])

    coarse = REFERENCE * (ROUGH if few else 1)
    for tolerance in (coarse, coarse / 2):
        flow = GradientFlow(T, tolerance, order=2)
        yield "reference", tolerance, partial(train_by, flow, torch.float64, DeferredWeight)
    for order, tolerance in product((1, 2), TOLERANCES[: 3 if few else None]):
        yield f"gradient flow, order {order}", tolerance, partial(train_by, GradientFlow(T, tolerance, order=order))
    for rate in RATES[: 2 if few else None]:
        yield "gradient descent", rate, partial(train_by, GradientDescent(rate, round(T / rate)))
    outside = Outside(like, x, cost, products)
    if 8 * like.num_parameters * STAGES <= LARGEST:
        for tolerance in OUTSIDE:
            yield "DOP853", tolerance, partial(outside.train, tolerance, drawn)


def precision(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Work and precision to t = 200; errors: root mean square of f on the data (f* ~ 1), relative of Θ(x_0, x(γ))"""
    like, x, cost = figure_1(n, n_inputs)
    ends = circle(torch.zeros(1)), circle(angle_grid(100))
    train(GradientDescent(NO_CHANGE, 1), like, x, cost)  # to warm up
    products: Counter[str] = Counter()
    rows: list[Row] = []
    outcomes: list[tuple[Tensor, Tensor]] = []
    for solver, setting, run in runs(like, x, cost, products):
        products.clear()
        start = time.perf_counter()
        network, steps = run()
        seconds, count = time.perf_counter() - start, products.total()
        outcomes.append((network(x).double(), tangent_kernel(network, *ends)))
        del network  # before the next is made
        rows.append({"solver": solver, "setting": setting, "steps": steps, "products": count, "s": seconds})
    f, theta = outcomes.pop(1)
    del rows[1]  # the fine reference
    for row, (f_then, theta_then) in zip(rows, outcomes, strict=True):
        row["error of f"] = float((f_then - f).square().mean().sqrt())
        row["error of Θ"] = float((theta_then - theta).norm() / theta.norm())
    yield from rows
