"""Kernels on function space that the tests share."""

from functools import partial

import pytest
import torch

from replication.kernels import (
    tensor_identity,
)
from replication.limit import theta_inf
from replication.network import Network
from replication.randomness import generator
from replication.tangent import tangent_kernel

F64 = torch.float64


N, M = 6, 4


limit_kernel = partial(theta_inf, depth=3, nonlinearity="relu", beta=0.3)


def normal(*shape, key="normal"):
    return torch.randn(*shape, generator=generator(key, *shape), dtype=F64)


def network_kernel(n_outputs):
    widths = [3, 12, 12, n_outputs]
    net = Network.init(widths, generator=generator("net"), nonlinearity="tanh", beta=0.3, dtype=F64)
    return partial(tangent_kernel, net)


def mixing(x, x2=None):
    """A kernel whose outputs interact differently at every pair: K(x, x') = A(x) A(x')ᵀ, A(x) of shape (2, 30)."""
    weights = normal(2, 30, 3, key="mixing")
    rows, columns = (torch.einsum("oij,xj->xoi", weights, z).tanh().flatten(0, 1) for z in (x, x if x2 is None else x2))
    return rows @ columns.T


KERNELS = {
    "limit": (limit_kernel, 1),
    "limit ⊗ Id": (tensor_identity(limit_kernel, 3), 3),
    "network": (network_kernel(1), 1),
    "network, 3 outputs": (network_kernel(3), 3),
    "mixing": (mixing, 2),
}


every_kernel = pytest.mark.parametrize(("kernel", "n_outputs"), KERNELS.values(), ids=KERNELS)


def data(n=N, key="data"):
    return normal(n, 3, key=key)


def linear(x, x2=None):
    return x @ (x if x2 is None else x2).T
