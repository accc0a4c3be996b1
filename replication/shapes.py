"""Checks that shapes agree. Without them arrays would be broadcast silently, to a meaningless number."""

import numbers
from collections.abc import Sequence


def require_shape(name: str, shape: Sequence[int], other: str, expected: Sequence[int]) -> None:
    """Raises ValueError, with both shapes, unless ``shape`` ends with ``expected``.

    It may have leading dimensions: outputs (S, N, n_L) of an ensemble go with a target (N, n_L).
    """
    if tuple(shape[len(shape) - len(expected) :]) != tuple(expected) or len(shape) < len(expected):
        raise ValueError(f"{name} has shape {tuple(shape)}, {other} {tuple(expected)}: they have to agree")


def require_kernel(kernel: Sequence[int], name: str, f: Sequence[int]) -> None:
    """Raises ValueError, with both shapes, unless a kernel is (…, N n_L, N n_L) for values f (…, N, n_L).

    If each network of an ensemble has its own kernel, there must be as many f.
    """
    size, leading = f[-2] * f[-1], tuple(kernel[:-2])
    if tuple(kernel[-2:]) != (size, size) or leading not in ((), tuple(f[:-2])):
        raise ValueError(
            f"the kernel has shape {tuple(kernel)}, {name} {tuple(f)}: they have to agree, (N n_L, N n_L) and (N, n_L)"
        )


def require_count(name: str, value: object) -> int:
    """An integer of Python or NumPy as a Python one. Raises ValueError for anything else and for numbers < 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}; it has to be an integer ≥ 1")
    return int(value)
