"""A kernel, data and points off them, with one output and with two."""

import math
from functools import partial

import pytest
import torch

from replication.kernels import tensor_identity
from replication.limit import sigma_inf, theta_inf
from replication.network import Network
from replication.randomness import generator
from replication.regression import LeastSquaresFlow
from replication.tangent import tangent_kernel

F64 = torch.float64


N, M = 5, 4


TIMES = (0.0, 0.3, 10.0, 1000.0, math.inf)


arguments = {"depth": 3, "nonlinearity": "relu", "beta": 0.3}


def normal(*shape, key="normal"):
    return torch.randn(*shape, generator=generator(key, *shape), dtype=F64)


def points():
    """Data and points off them."""
    return normal(N + M, 3, key="x")


def kernels():
    """The kernel at all points, (N + M) n_L square, and n_L."""
    x = points()
    net = Network.init([3, 20, 20, 2], generator=generator("net"), nonlinearity="tanh", beta=0.3, dtype=F64)
    return {
        "limit": (theta_inf(x, **arguments), 1),
        "limit ⊗ Id": (tensor_identity(partial(theta_inf, **arguments), 3)(x), 3),
        "network": (tangent_kernel(net, x), 2),
        "rank 3": ((x @ x.T), 1),
        "rank 3 ⊗ Id": (torch.kron(x @ x.T, torch.eye(2, dtype=F64)), 2),
    }


every_kernel = pytest.mark.parametrize("name", ["limit", "limit ⊗ Id", "network", "rank 3", "rank 3 ⊗ Id"])


positive_kernels = pytest.mark.parametrize("name", ["limit", "limit ⊗ Id", "network"])


def problem(name):
    kernel, n_outputs = kernels()[name]
    target, f_0 = normal(N, n_outputs, key="target"), normal(N + M, n_outputs, key="f_0")
    return kernel, target, f_0, LeastSquaresFlow(kernel[:, : N * n_outputs], target)


def covariance(n_outputs):
    return torch.kron(sigma_inf(points(), **arguments), torch.eye(n_outputs, dtype=F64))
