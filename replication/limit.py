"""The infinite-width limit: the kernels Σ⁽ˡ⁾, Σ̇⁽ˡ⁾ and Θ_∞⁽ˡ⁾ of every layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .gaussian import Directions, GaussianPairs, Moments
from .nonlinearities import nonlinearity
from .shapes import require_count
from .sigma import Nonlinearity

Inputs = Tensor | np.ndarray
Block = tuple[slice, slice]
# Bytes of a block of a kernel: on a CPU the arrays of one layer then stay in the cache of a core.
_BYTES = 2**18
_BYTES_GPU = 2**25


@dataclass(frozen=True)
class Limit:
    """The limit kernels of every layer l = 1, …, L between N and N' inputs.

    sigma[l − 1] = Σ⁽ˡ⁾, theta[l − 1] = Θ_∞⁽ˡ⁾, sigma_dot[l − 1] = Σ̇⁽ˡ⁾; sigma[-1] and theta[-1] belong to depth L.

    Paper, Proposition 1 and Theorem 1. Tensors of shape (L, N, N'). There is no Σ̇⁽¹⁾; sigma_dot[0] is 0, with which
    Θ_∞⁽¹⁾ = Σ⁽¹⁾ fits the recursion.
    """

    sigma: Tensor
    sigma_dot: Tensor
    theta: Tensor

    @property
    def sigma_inf(self) -> Tensor:
        """Σ⁽ᴸ⁾, (N, N')."""
        return self.sigma[-1]

    @property
    def theta_inf(self) -> Tensor:
        """Θ_∞⁽ᴸ⁾, (N, N')."""
        return self.theta[-1]


def limit(
    x: Inputs,
    x2: Inputs | None = None,
    *,
    depth: int,
    nonlinearity: str | Nonlinearity,
    beta: float,
    block: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Limit:
    """The kernels Σ⁽ˡ⁾, Σ̇⁽ˡ⁾, Θ_∞⁽ˡ⁾ of the infinitely wide network, for l = 1, …, depth.

    Σ⁽¹⁾ = xᵀx'/n_0 + β², Σ⁽ˡ⁺¹⁾ = E[σ(u)σ(v)] + β², Σ̇⁽ˡ⁺¹⁾ = E[σ̇(u)σ̇(v)] with (u, v) ∼ N(0, Σ⁽ˡ⁾);
    Θ_∞⁽¹⁾ = Σ⁽¹⁾, Θ_∞⁽ˡ⁺¹⁾ = Θ_∞⁽ˡ⁾ Σ̇⁽ˡ⁺¹⁾ + Σ⁽ˡ⁺¹⁾.

    Paper, Proposition 1 and Theorem 1. x is (N, n_0), x2 is (N', n_0). Without x2 the kernels are between x and
    itself: they are exactly symmetric, and only half of them is computed. The computation runs on the device of x,
    `block` rows at a time, in float64 to about 1e-13, or in float32 to about 1e-6 in half the time.

    Raises ValueError for wrong shapes, inputs that are not finite, depth < 1, β < 0, block < 1, another dtype or an
    unknown name of σ; OverflowError if a kernel is not finite, as of deep networks with a quadratic σ.
    """
    recursion = _Recursion(x, x2, depth, nonlinearity, beta, block, dtype)
    kernels = Limit(*(recursion.empty(recursion.depth) for _ in range(3)))

    def compute(block: Block) -> None:
        for layer, (sigma, sigma_dot, theta) in enumerate(recursion.layers(block)):
            recursion.store(kernels.sigma[layer], block, sigma)
            recursion.store(kernels.sigma_dot[layer], block, sigma_dot)
            recursion.store(kernels.theta[layer], block, theta)

    recursion.run(compute)
    return kernels


def sigma_inf(
    x: Inputs,
    x2: Inputs | None = None,
    *,
    depth: int,
    nonlinearity: str | Nonlinearity,
    beta: float,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """The output covariance Σ⁽ᴸ⁾, L = depth, of the infinitely wide network: as `limit(...).sigma[-1]`, in less memory.

    Paper, Proposition 1. Arguments and errors as in `limit`; (N, N').
    """
    return _last(_Recursion(x, x2, depth, nonlinearity, beta, None, dtype), 0)


def theta_inf(
    x: Inputs,
    x2: Inputs | None = None,
    *,
    depth: int,
    nonlinearity: str | Nonlinearity,
    beta: float,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """The limit Θ_∞⁽ᴸ⁾, L = depth, of the neural tangent kernel: as `limit(...).theta[-1]`, in less memory.

    Paper, Theorem 1. Arguments and errors as in `limit`; (N, N').
    """
    return _last(_Recursion(x, x2, depth, nonlinearity, beta, None, dtype), 2)


def _last(recursion: _Recursion, which: int) -> Tensor:
    out = recursion.empty()

    def compute(block: Block) -> None:
        for layer in recursion.layers(block):
            last = layer
        recursion.store(out, block, last[which])

    recursion.run(compute)
    return out


class _Recursion:
    """The recursion over layers, for one block of rows and columns at a time."""

    def __init__(
        self,
        x: Inputs,
        x2: Inputs | None,
        depth: int,
        choice: str | Nonlinearity,
        beta: float,
        block: int | None,
        dtype: torch.dtype,
    ) -> None:
        if not (math.isfinite(beta) and beta >= 0):
            raise ValueError(f"beta is {beta!r}; it has to be a finite number ≥ 0")
        if block is not None:
            require_count("block", block)
        if dtype not in (torch.float64, torch.float32):
            raise ValueError(f"dtype is {dtype}; it has to be float64 or float32")
        self.nonlinearity = nonlinearity(choice) if isinstance(choice, str) else choice
        self.beta, self.depth, self.symmetric = float(beta), require_count("depth", depth), x2 is None
        x = _inputs("x", x)
        self.dtype, self.device = dtype, x.device
        self.first = self.second = Directions.of(x, self.beta)
        if x2 is not None:
            x2 = _inputs("x2", x2)
            if x.shape[1] != x2.shape[1]:
                raise ValueError(f"x and x2 have {x.shape[1]} and {x2.shape[1]} coordinates; they have to agree")
            if x.device != x2.device:
                raise ValueError(f"x and x2 are on {x.device} and {x2.device}; they have to agree")
            self.second = Directions.of(x2, self.beta)
        self.block = block
        self.shape = (len(self.first.variance), len(self.second.variance))
        self.moments = [moments.map(lambda part: part[:, None]) for moments in self._moments(self.first.variance)]
        self.moments2 = [moments.map(lambda part: part[None, :]) for moments in self._moments(self.second.variance)]
        self.first, self.second = self.first.to(dtype), self.second.to(dtype)

    def _moments(self, variance: Tensor) -> list[Moments]:
        """Moments of the activations of layers l = 1, …, L − 1, each (N,): the diagonal recursion, in float64."""
        moments: list[Moments] = []
        while len(moments) < self.depth - 1:
            moments.append(Moments.of(self.nonlinearity.root_mean_square(variance), self.beta))
            variance = moments[-1].variance
        return [layer.map(lambda part: part.to(self.dtype)) for layer in moments]

    def empty(self, *leading: int) -> Tensor:
        return torch.empty(*leading, *self.shape, dtype=self.dtype, device=self.device)

    def blocks(self) -> Iterator[Block]:
        """Rows, and the columns to compute there; for a symmetric kernel, the columns from the diagonal on."""
        n_rows, n_columns = self.shape
        elements = (_BYTES if self.device.type == "cpu" else _BYTES_GPU) // self.dtype.itemsize
        start = 0
        while start < n_rows:
            left = start if self.symmetric else 0
            stop = min(n_rows, start + (self.block or max(1, elements // (n_columns - left))))
            yield slice(start, stop), slice(left, n_columns)
            start = stop

    def run(self, compute: Callable[[Block], None]) -> None:
        """Compute every block; on a CPU, as many at once as torch has threads."""
        blocks = list(self.blocks())
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        if threads == 1 or len(blocks) == 1:
            for block in blocks:
                compute(block)
            return
        # Threads that shared each small operation would wait for one another dozens of times in a block.
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(compute, blocks))
        finally:
            torch.set_num_threads(threads)  # the workers' setting would apply to later threads

    def layers(self, block: Block) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(Σ⁽ˡ⁾, Σ̇⁽ˡ⁾, Θ_∞⁽ˡ⁾) on a block, for l = 1, …, L."""
        rows, columns = block
        pairs = GaussianPairs.from_inputs(self.first[rows], self.second[columns])
        theta = pairs.k12
        yield pairs.k12, torch.zeros_like(theta), theta
        for left, right in zip(self.moments, self.moments2, strict=True):
            a, b = left.map(lambda part: part[rows]), right.map(lambda part: part[:, columns])
            pairs, slope = self.nonlinearity.propagate(pairs, a, b)
            theta = torch.addcmul(pairs.k12, theta, slope)
            yield pairs.k12, slope, theta

    def store(self, kernel: Tensor, block: Block, values: Tensor) -> None:
        """Write a block of a kernel, and its mirror image if the kernel is symmetric."""
        if not bool(torch.isfinite(values).all()):
            name = self.nonlinearity.name
            raise OverflowError(
                f"the limit kernel of depth {self.depth} leaves {self.dtype}: σ = {name}, β = {self.beta:g}"
            )
        rows, columns = block
        kernel[rows, columns] = values
        if self.symmetric:
            square = values[:, : len(values)]
            kernel[rows, rows] = square.triu() + square.triu(1).mT
            kernel[rows.stop :, rows] = values[:, len(values) :].mT


def _inputs(name: str, x: Inputs) -> Tensor:
    tensor = torch.as_tensor(x).detach()
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it has to be (N, n_0) with N ≥ 1 and n_0 ≥ 1")
    if tensor.is_complex():
        raise ValueError(f"{name} is complex; it has to be real")
    tensor = tensor.to(torch.float64)
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} has values that are not finite")
    return tensor
