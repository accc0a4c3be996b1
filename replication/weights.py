"""Ways to hold a Gaussian weight matrix W⁽ˡ⁾. Training and the NTK need two products and an update.

A step that may be undone stands between ``begin`` and ``commit`` or ``rollback``. Subtracting it instead would leave
rounding errors; if the step was far too long, it would destroy the matrix.

``Network`` uses the protocol ``Weight``. ``DenseWeight`` keeps the matrix, ``DeferredWeight`` the matrix and its latest
updates apart, ``RevealedWeight`` (in ``revealed``) only the directions that products have used.
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor

# The product of a thin batch with a wide matrix is up to twice as fast in blocks of this many output units, with the
# batch stored by columns (`scripts/benchmark.py products`).
BLOCK = 2000
NOTHING_SAVED = "there is nothing to go back to: begin() comes first"


class Weight(Protocol):
    """A matrix W of shape (n_out, n_in), used through its products only. Batches are rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def apply(self, v: Tensor) -> Tensor:
        """V Wᵀ: (N, n_in) → (N, n_out), row by row W v."""

    def apply_transpose(self, v: Tensor) -> Tensor:
        """V W: (N, n_out) → (N, n_in), row by row Wᵀ v."""

    def update(self, left: Tensor, right: Tensor, scale: float) -> None:
        """W ← W + scale · leftᵀ right in place; left (N, n_out), right (N, n_in)."""

    def begin(self) -> None:
        """Remember the present W."""

    def commit(self) -> None:
        """Keep the updates since ``begin``."""

    def rollback(self) -> None:
        """Restore W exactly as it was at ``begin``. Raises RuntimeError without a ``begin``."""


class WeightDraw(Protocol):
    """Draws a weight matrix of i.i.d. N(0, 1) entries from a generator, or an ensemble from several generators."""

    def __call__(
        self,
        n_out: int,
        n_in: int,
        generator: torch.Generator | Sequence[torch.Generator],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Weight: ...


class DenseWeight:
    """A weight matrix held as a tensor, or an ensemble along a leading dimension.

    ``values`` has shape (n_out, n_in), or (S, n_out, n_in) for S independent networks trained as one tensor program.
    """

    def __init__(self, values: Tensor):
        if values.ndim not in (2, 3):
            raise ValueError(f"a weight has shape (n_out, n_in) or (S, n_out, n_in), not {tuple(values.shape)}")
        self.values = values.detach()
        self._saved: Tensor | None = None

    @classmethod
    def draw(
        cls,
        n_out: int,
        n_in: int,
        generator: torch.Generator | Sequence[torch.Generator],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Self:
        """W_ij i.i.d. N(0, 1), drawn on the CPU. A sequence of generators draws an ensemble, one matrix from each."""
        if isinstance(generator, torch.Generator):
            values = torch.randn(n_out, n_in, generator=generator, dtype=dtype)
        else:
            values = torch.empty(len(generator), n_out, n_in, dtype=dtype)
            for matrix, stream in zip(values, generator, strict=True):
                matrix.normal_(generator=stream)
        return cls(values.to(device))

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[-2], self.values.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    def apply(self, v: Tensor) -> Tensor:
        return _product(v, self.values.mT)

    def apply_transpose(self, v: Tensor) -> Tensor:
        return _product(v, self.values)

    def update(self, left: Tensor, right: Tensor, scale: float) -> None:
        if self.values.ndim == 2:
            self.values.addmm_(left.mT, right, alpha=scale)
        else:
            ensemble = len(self.values)
            left, right = (v.expand(ensemble, *v.shape[-2:]) for v in (left, right))
            self.values.baddbmm_(left.mT, right, alpha=scale)

    def begin(self) -> None:
        self._saved = self.values.clone()

    def commit(self) -> None:
        self._saved = None

    def rollback(self) -> None:
        if self._saved is None:
            raise RuntimeError(NOTHING_SAVED)
        self.values.copy_(self._saved)
        self._saved = None

    def normalize_columns(self) -> None:
        """Rescale each column of W, the weights of an input unit, to root mean square 1: W_·j ← W_·j / rms(W_·j)."""
        self.values /= self.values.square().mean(dim=-2, keepdim=True).sqrt()


class DeferredWeight:
    """A matrix whose latest updates are kept apart: W = W₀ + Σ_k L_kᵀ R_k.

    It is made for the few steps of a gradient flow in a wide network. N inputs update a matrix by rank N. A product of
    N vectors with L_kᵀ R_k takes 4 n N² operations; adding it to the matrix would take 2 n² N. Updates with the same
    tensor R, which must not change, are joined. When the total rank of the updates exceeds a third of the matrix's, the
    oldest ones are added to W₀. This waits while a ``begin`` is open, so that ``rollback`` costs nothing. Raises
    ValueError for an ensemble.
    """

    _part = 1 / 3

    def __init__(self, matrix: DenseWeight):
        if matrix.values.ndim != 2:
            raise ValueError(f"updates can be deferred for a single matrix only, not {tuple(matrix.values.shape)}")
        self.matrix = matrix
        self.shape, self.dtype, self.device = matrix.shape, matrix.dtype, matrix.device
        self.factors: list[tuple[Tensor, Tensor]] = []
        self._saved: list[tuple[Tensor, Tensor]] | None = None

    @classmethod
    def draw(cls, *arguments: Any, **keywords: Any) -> Self:
        """The matrix that ``DenseWeight.draw`` draws, with the same arguments."""
        return cls(DenseWeight.draw(*arguments, **keywords))

    def apply(self, v: Tensor) -> Tensor:
        out = self.matrix.apply(v)
        for left, right in self.factors:
            out.mT.addmm_(left.mT, right @ v.mT)
        return out

    def apply_transpose(self, v: Tensor) -> Tensor:
        out = self.matrix.apply_transpose(v)
        for left, right in self.factors:
            out.mT.addmm_(right.mT, left @ v.mT)
        return out

    def update(self, left: Tensor, right: Tensor, scale: float) -> None:
        for k, (known, other) in enumerate(self.factors):
            if other is right:
                self.factors[k] = (torch.add(known, left, alpha=scale), right)  # not in place: rollback may need it
                break
        else:
            self.factors.append((scale * left, right))
        if self._saved is None:
            self._fold()

    def begin(self) -> None:
        self._saved = list(self.factors)

    def commit(self) -> None:
        self._saved = None
        self._fold()

    def rollback(self) -> None:
        if self._saved is None:
            raise RuntimeError(NOTHING_SAVED)
        self.factors, self._saved = self._saved, None

    def _fold(self) -> None:
        while sum(right.shape[-2] for _, right in self.factors) > self._part * min(self.shape):
            self.matrix.update(*self.factors.pop(0), 1.0)


def _product(v: Tensor, matrix: Tensor) -> Tensor:
    """V M. For a wide M on the CPU: (Mᵀ Vᵀ)ᵀ, in blocks of columns of M, and the result is stored by columns."""
    columns = matrix.shape[-1]
    if matrix.ndim > 2 or v.ndim > 2 or columns <= BLOCK or matrix.is_cuda:
        return v @ matrix
    right = v.mT.contiguous()  # no copy if v is the result of another product
    out = v.new_empty(columns, v.shape[0])
    for start in range(0, columns, BLOCK):
        block = slice(start, start + BLOCK)
        torch.mm(matrix[:, block].mT, right, out=out[block])
    return out.mT
