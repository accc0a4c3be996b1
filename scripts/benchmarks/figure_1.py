"""The network and the data of Figure 1, which most benchmarks use."""

from torch import Tensor

from replication.costs import LeastSquares
from replication.datasets import gaussian
from replication.network import Network
from replication.randomness import generator
from replication.training import Solver
from replication.weights import DenseWeight

NO_CHANGE = 1e-12
"""The scale of an update that takes the usual time but does not change the weights."""
T, TOLERANCE = 200.0, 5e-3


def figure_1(n: int, n_inputs: int) -> tuple[Network, Tensor, LeastSquares]:
    """Network, inputs and cost of Figure 1."""
    network = Network.init([2, n, n, n, 1], generator=generator("fig1", "network", n, 0))
    x = gaussian(n_inputs, 2, generator("fig1", "sample", 0))
    return network, x, LeastSquares(x[:, :1] * x[:, 1:])


def tensors(network: Network) -> list[Tensor]:
    """W⁽⁰⁾, W⁽¹⁾, …, then b⁽⁰⁾, b⁽¹⁾, …"""
    return [weight.values for weight in network.weights if isinstance(weight, DenseWeight)] + network.biases


def train(solver: Solver, network: Network, x: Tensor, cost: LeastSquares) -> tuple[int, Tensor]:
    """Train, and return (steps, f at the end)."""
    outputs = [state.f for state in solver.states(network, x, cost)]
    return len(outputs) - 1, outputs[-1]
