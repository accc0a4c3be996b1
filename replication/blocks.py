"""A few long rows: inner products, combinations and singular directions, without another array of their size.

Rows are (N, n) with n up to millions. Inner products are summed in float64, over pieces that fit into the cache. A
basis is a list of blocks of rows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_CHUNK = 8192
# Rows of a block: as few as make products with a block efficient.
_BLOCK_ROWS = 64


class Rows(list[Tensor]):
    """Rows in blocks, the last one with room for more, so that growth copies nothing."""

    _buffer: Tensor

    def grow(self, rows: Tensor) -> None:
        filled = len(self[-1]) if self else 0
        if self and filled + len(rows) <= len(self._buffer):
            self._buffer[filled : filled + len(rows)] = rows
            self[-1] = self._buffer[: filled + len(rows)]
        elif self:
            # Room is reserved. On a CPU the part that is not written to takes no memory.
            self._buffer = rows.new_empty(max(len(rows), _BLOCK_ROWS), rows.shape[1])
            self._buffer[: len(rows)] = rows
            self.append(self._buffer[: len(rows)])
        else:  # at initialization nothing may follow
            self._buffer = rows
            self.append(rows)


def inner(v: Tensor, blocks: Sequence[Tensor], scale: Tensor | None = None) -> Tensor:
    """V Bᵀ for the rows B of the blocks, (N, rank), float64; scale, (N, 1), multiplies the rows of V first."""
    out = torch.zeros(len(v), sum(map(len, blocks)), dtype=torch.float64, device=v.device)
    for block, columns in zip(blocks, torch.split(out, [len(block) for block in blocks], dim=1), strict=True):
        for part, rows in zip(torch.split(v, _CHUNK, dim=1), torch.split(block, _CHUNK, dim=1), strict=True):
            columns += (part if scale is None else part * scale) @ rows.mT
    return out


def combined(coefficients: Tensor, blocks: Sequence[Tensor], size: int, dtype: torch.dtype) -> Tensor:
    """C B for the rows B of the blocks, (N, size), in the dtype of B; 0 for an empty basis."""
    if not blocks:
        return torch.zeros(len(coefficients), size, dtype=dtype, device=coefficients.device)
    first, *parts = torch.split(coefficients.to(dtype), [len(block) for block in blocks], dim=1)
    out = first @ blocks[0]
    for block, part in zip(blocks[1:], parts, strict=True):
        out.addmm_(part, block)
    return out


def subtract(v: Tensor, coefficients: Tensor, blocks: Sequence[Tensor]) -> None:
    """V ← V − C B in place."""
    parts = torch.split(coefficients.to(v.dtype), [len(block) for block in blocks], dim=1)
    for block, part in zip(blocks, parts, strict=True):
        v.addmm_(part, block, alpha=-1)


def mixed(matrix: Tensor, rows: Tensor, in_place: bool) -> Tensor:
    """M R; written over R if M is square and ``in_place`` allows it."""
    matrix = matrix.to(rows.dtype)
    if not in_place or len(matrix) < len(rows):
        return matrix @ rows
    for part in torch.split(rows, _CHUNK, dim=1):
        part.copy_(matrix @ part)
    return rows


def singular(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values, and left singular vectors as rows of Uᵀ, of R = U S Q, in float64, the largest first.

    Values above 10⁻⁷ of the largest, and above the rounding of R's dtype, are distinguished from 0.
    """
    parts = torch.split(rows, _CHUNK, dim=1)
    if rows.dtype == torch.float32:
        gram = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
        for wide in map(Tensor.double, parts):
            gram.addmm_(wide, wide.mT)
        squares, u = torch.linalg.eigh(gram)
        return squares.flip(0).clamp(min=0).sqrt(), u.mT.flip(0)
    # Triangular factors, chunk by chunk: a Gram matrix would hide directions below √ε in its rounding.
    factors = [torch.linalg.qr(part.mT, mode="r").R for part in parts]
    _, s, vh = torch.linalg.svd(torch.cat(factors), full_matrices=False)  # of Rᵀ: the rows of vh are Uᵀ
    return s, vh
