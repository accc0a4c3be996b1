"""Named random streams: all random numbers of the project come from generators that are derived from keys."""

import hashlib
from typing import Any

import torch

_SEPARATOR = "\x1f"


def generator(*key: str | int, draw: int = 0) -> torch.Generator:
    """CPU random generator of the stream named by ``key``, e.g. ``generator("fig1", "network", width, seed)``.

    draw: each draw has streams of its own under the same names, for an independent replication.

    The 64-bit seed is the head of SHA-256 of the key. So neighbouring keys give unrelated streams, and a network gets
    the same numbers alone, in a sweep or after a resume. They are drawn on the CPU: a network is the same on any
    device.

    A string or an integer of NumPy, PyTorch or xarray, as read back from a file, counts as the Python one. Raises
    TypeError for anything else, such as 3.0, True, None or b"fig1".
    """
    parts = [_part(part) for part in key]
    if number := _integer("draw", draw):
        parts = ["draw", str(number), *parts]
    digest = hashlib.sha256(_SEPARATOR.join(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def _part(part: object) -> str:
    plain = _plain(part)
    if not isinstance(plain, str):
        return f"int:{_integer('a part of a key', part)}"
    text = str.__str__(plain)  # the value, if it is a member of a string enumeration
    if _SEPARATOR in text:
        raise ValueError(f"the key {text!r} contains the separator of keys")
    return f"str:{text}"


def _integer(name: str, value: object) -> int:
    plain = _plain(value)
    if not isinstance(plain, int) or isinstance(plain, bool):
        raise TypeError(f"{name} has to be a string or an integer, not {value!r}")
    return int(plain)


def _plain(value: Any) -> object:
    """The Python number or string that a scalar of NumPy, PyTorch or xarray holds."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
