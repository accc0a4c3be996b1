"""Rows in blocks: what is done in place or by chunks is what it says."""

import pytest
import torch

from replication.blocks import combined, inner, mixed, singular, subtract

F32, F64 = torch.float32, torch.float64
SIZE = 20_000  # several chunks, the last of them short


def rows(count, dtype, seed):
    return torch.randn(count, SIZE, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dtype", "error"), [(F32, 1e-5), (F64, 1e-13)])
def test_inner_products_combinations_and_differences(dtype, error):
    v, blocks = rows(4, dtype, 0), [rows(3, dtype, 1), rows(5, dtype, 2)]
    basis = torch.cat(blocks).double()
    scale = torch.tensor([[1.0], [2.0], [-1.0], [0.5]], dtype=dtype)
    allowed = {"rtol": 0, "atol": error * SIZE**0.5 * 4}
    torch.testing.assert_close(inner(v, blocks), v.double() @ basis.mT, **allowed)
    torch.testing.assert_close(inner(v, blocks, scale), (v * scale).double() @ basis.mT, **allowed)
    coefficients = torch.arange(32.0, dtype=F64).reshape(4, 8).cos()
    expected = coefficients @ basis
    found = combined(coefficients, blocks, SIZE, dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=10 * error)
    left = v.clone()
    subtract(left, coefficients, blocks)
    torch.testing.assert_close(left.double(), v.double() - expected, rtol=0, atol=10 * error)


def test_without_a_block_there_is_nothing():
    v = rows(2, F32, 0)
    none = inner(v, [])
    assert none.shape == (2, 0)
    left = v.clone()
    subtract(left, none, [])
    assert left.equal(v)
    nothing = combined(none, [], 7, F32)
    assert (nothing.shape, nothing.dtype, float(nothing.abs().max())) == ((2, 7), F32, 0.0)


def test_rows_are_mixed_in_their_own_memory_where_that_is_allowed():
    v, matrix = rows(4, F64, 0), torch.arange(16.0, dtype=F64).reshape(4, 4).sin()
    expected = matrix @ v
    kept = v.clone()
    apart = mixed(matrix, v, in_place=False)
    assert v.equal(kept)
    torch.testing.assert_close(apart, expected)
    fewer = mixed(matrix[:2], v, in_place=True)  # a view would hold on to the memory of all
    assert v.equal(kept)
    torch.testing.assert_close(fewer, expected[:2])
    own = mixed(matrix, v, in_place=True)
    assert own.data_ptr() == v.data_ptr()
    torch.testing.assert_close(own, expected)


@pytest.mark.parametrize(("dtype", "smallest"), [(F32, 1e-6), (F64, 1e-12)])
def test_singular_directions_are_found_down_to_rounding(dtype, smallest):
    """Of U S Q with known S, the largest first; and UᵀR has orthogonal rows of these lengths."""
    generator = torch.Generator().manual_seed(3)
    u = torch.linalg.qr(torch.randn(4, 4, dtype=F64, generator=generator)).Q
    q = torch.linalg.qr(rows(4, F64, 4).mT).Q.mT
    expected = torch.tensor([1.0, 0.1, 1e-3, smallest], dtype=F64)
    r = (u * expected) @ q
    s, vh = singular(r.to(dtype))
    torch.testing.assert_close(s, expected, rtol=0.1, atol=0)
    torch.testing.assert_close((vh @ u).abs(), torch.eye(4, dtype=F64), rtol=0, atol=0.1)
    assert singular(torch.zeros(3, 10, dtype=dtype))[0].max() == 0
