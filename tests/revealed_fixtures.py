"""Revealed weights and the dense networks that they are."""

import torch

from replication.network import Network
from replication.revealed import RevealedWeight, revealing

N_0 = 20  # more than revealed.SMALL, so that the first matrix is revealed too


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def weight(n_out=30, n_in=25, dtype=torch.float64, tolerance=0.0, seed=0):
    return RevealedWeight(n_out, n_in, stream(seed), dtype, tolerance=tolerance)


def network(sigma="relu", depth=3, n_outputs=1, width=40, tolerance=0.0, dtype=torch.float64, seed=0, n_0=N_0):
    return Network.init(
        [n_0, *[width] * (depth - 1), n_outputs],
        generator=stream(seed),
        nonlinearity=sigma,
        dtype=dtype,
        weight=revealing(tolerance),
    )
