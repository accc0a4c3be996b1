"""Named random streams: every draw of the project comes from a generator derived from a key."""

import hashlib
from typing import Any

import torch

_SEPARATOR = "\x1f"


def generator(*key: str | int, draw: int = 0) -> torch.Generator:
    """CPU random generator of the stream named by ``key``, e.g. ``generator("fig1", "network", width, seed)``.

    draw: another draw has other streams of the same names, for an independent replication. The 64-bit seed is the head
    of SHA-256 of the key, so that neighbouring keys give unrelated streams and a network draws the same numbers alone,
    in a sweep or after a resume. Drawing on the CPU keeps a network the same whatever device it then lives on.

    A string or an integer of NumPy, PyTorch or xarray, as read back from a file, is the key that it was. Raises
    TypeError for anything else, which only looks like a key: 3.0, True, None, b"fig1".
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
    text = str.__str__(plain)  # of an enumeration's member that is a string, its value
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
