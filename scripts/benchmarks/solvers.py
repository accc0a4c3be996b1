"""Gradient flow beside gradient descent, and ensembles beside one network after another."""

from collections.abc import Iterator
from functools import partial

import torch

from replication.costs import LeastSquares
from replication.datasets import gaussian, mnist
from replication.kernels import principal_components
from replication.limit import theta_inf
from replication.network import Network
from replication.randomness import generator
from replication.training import GradientDescent, GradientFlow, State, follow
from replication.weights import DeferredWeight, DenseWeight, WeightDraw

from .figure_1 import NO_CHANGE
from .harness import NOTHING, Row, Work, race

GOAL = 4000
"""The end t of Figure 3."""


def ensemble(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Forward pass, backward pass and update of networks [2, n, n, n, 1]"""
    x = gaussian(n_inputs, 2, generator("fig1", "sample", 0))
    streams = [generator("fig1", "network", n, seed) for seed in range(50)]
    together = Network.init([2, n, n, n, 1], generator=streams)
    apart = [Network.init([2, n, n, n, 1], generator=stream) for stream in streams]

    def move(networks: list[Network]) -> None:
        for network in networks:
            forward = network.forward(x)
            network.update(forward, network.backward(forward, torch.ones_like(forward.output)), NO_CHANGE)

    times = race({"apart": partial(move, apart), "together": partial(move, [together])}, repeats)
    milliseconds = {"one by one ms": 1e3 * times["apart"], "together ms": 1e3 * times["together"]}
    yield {"networks": len(apart), **milliseconds, "ratio": times["apart"] / times["together"]}


def fig3(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Figure 3, [784, n, n, n, n, 1]: 4000 steps of rate 1, from measured ones, against flows; worst error of f to t"""
    x = mnist(n_inputs, 0).images

    def draw(weight: WeightDraw = DenseWeight.draw) -> Network:
        return Network.init([784, n, n, n, n, 1], generator=generator("fig3", "network", n, 0), weight=weight)

    components = principal_components(theta_inf(x, depth=5, nonlinearity="relu", beta=0.1), count=2)
    cost = LeastSquares(draw()(x).double() + 0.5 * components.functions[1])
    few, t = 5, min(GOAL, 1000) if n <= 2000 else 20
    times_to_t = [t * i / 20 for i in range(21)]
    flows = {"order 1": GradientFlow(GOAL, 2e-3), "order 2": GradientFlow(GOAL, 2e-2, order=2)}
    weights = dict.fromkeys(flows, DenseWeight.draw) | {"order 2, updates deferred": DeferredWeight.draw}
    flows["order 2, updates deferred"] = flows["order 2"]

    def states_of(name: str) -> Iterator[State]:
        return flows[name].states(draw(weights[name]), x, cost)

    def run(name: str) -> int:
        return sum(1 for _ in states_of(name)) - 1

    fine = follow(GradientFlow(t, 2e-5, order=2).states(draw(), x, cost), times_to_t)
    outputs = {"descent": follow(GradientDescent(1.0, t).states(draw(), x, cost), times_to_t)}
    outputs |= {name: follow(states_of(name), times_to_t) for name in flows}
    steps = {"descent": GOAL} | {name: run(name) for name in flows}
    matrix, columns = torch.randn(n, n), torch.randn(n, n_inputs)
    states = GradientDescent(1.0, few * (repeats + 1)).states(draw(), x, cost)
    next(states)
    works: dict[str, Work] = {
        "descent": lambda: [next(states) for _ in range(few)],
        "product": partial(torch.mm, matrix, columns),
        **{name: partial(run, name) for name in flows},
    }
    times = race(works, repeats)
    flops = 3 * 6 * n**2 * n_inputs + 4 * 784 * n * n_inputs  # three products with each matrix, but two with the first
    of_product_rate = flops * few / times["descent"] / (2 * n**2 * n_inputs / times["product"])
    times["descent"] *= GOAL / few
    for name in ("descent", *flows):
        yield {
            "solver": name,
            "steps": steps[name],
            "s": times[name],
            "of product rate": of_product_rate if name == "descent" else NOTHING,
            "t": t,
            "error": float((outputs[name] - fine).square().mean(dim=(1, 2)).sqrt().max()),
            "ratio": times["descent"] / times[name],
        }
