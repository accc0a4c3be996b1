"""Networks, costs and exact flows that the tests of both solvers share."""

import pytest
import torch

from replication.costs import CrossEntropy, LeastSquares
from replication.network import Network
from replication.randomness import generator
from replication.training import GradientFlow

F64 = torch.float64


EXACT = {"rtol": 1e-12, "atol": 1e-12}


N = 6


def normal(*shape, key="data"):
    return torch.randn(*shape, generator=generator(key, *shape), dtype=F64)


def network(widths, key=0, name="tanh", beta=0.3, dtype=F64, seeds=None):
    stream = generator("test", key) if seeds is None else [generator("test", s) for s in range(seeds)]
    return Network.init(widths, generator=stream, nonlinearity=name, beta=beta, dtype=dtype)


X, PROBES = normal(N, 2), normal(4, 2, key="probes")


LABELS = torch.arange(N)


def problem(kind: str, n_outputs: int):
    """A cost and the same cost written for autograd, (N, n_L) → scalar."""
    if kind == "cross-entropy":
        labels = LABELS % n_outputs
        return CrossEntropy(labels, n_outputs), lambda f: torch.nn.functional.cross_entropy(f, labels)
    factor, y = {"½": 0.5, "1": 1.0}[kind], normal(N, n_outputs, key="target")
    return LeastSquares(y, factor), lambda f: factor * ((f - y) ** 2).sum(dim=1).mean()


def run(solver, net, cost, x=X):
    """Train to the end: (t, cost at t) of all states, and the number of steps."""
    values = [(state.t, cost.value(state.f).mean().item()) for state in solver.states(net, x, cost)]
    return values, len(values) - 1


T = 4.0
"""A few relaxation times (λ_max(K/N) is 0.3 … 1.1): all parts of the flow are still in motion."""


both_orders = pytest.mark.parametrize("order", [1, 2])


class TooLongFirst(GradientFlow):
    """The same scheme, but after each step it first tries one that is three times as long."""

    def _change(self, defect: float) -> float:
        return 3.0 if defect <= self.tolerance else super()._change(defect)
