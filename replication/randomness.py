"""Named random streams: every draw of the project comes from a generator derived from a key."""

import hashlib
import numbers

import torch


def generator(*key: str | int, draw: int = 0) -> torch.Generator:
    """CPU random generator of the stream named by ``key``, e.g. ``generator("fig1", "network", width, seed)``.

    draw: another draw has other streams of the same names, for an independent replication. The 64-bit seed is the head
    of SHA-256 of the key, so that neighbouring keys give unrelated streams and a network draws the same numbers alone,
    in a sweep or after a resume. Drawing on the CPU keeps a network the same whatever device it then lives on.
    """
    parts = [f"int:{int(part)}" if isinstance(part, numbers.Integral) else f"str:{part}" for part in key]
    if draw:
        parts = ["draw", str(draw), *parts]
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
