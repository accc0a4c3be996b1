"""The results store: one verified netCDF file per cell; an interrupted run resumes, nothing half-written is read."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

# No two processes write one temporary file, and every other is read from memory: there is nothing to lock, and network
# file systems refuse to. HDF5 looks at this when it is loaded.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
import netCDF4
import numpy as np
import xarray as xr

from .lease import lease


class Stored(Protocol):
    """A cell, as the store knows it: a dataclass instance whose fields are its identity, with a place and a name."""

    @property
    def folder(self) -> str: ...

    @property
    def label(self) -> str: ...


Cell = TypeVar("Cell", bound=Stored)

_log = logging.getLogger("replication")

# The digest is the last line of the file it covers, not a file of its own: one rename then publishes both, so no crash
# and no second writer can pair the digest of one version with the data of another. HDF5 ignores what follows its end of
# file, so other programs open these files as they are.
_TRAILER = b"\nsha256 %s\n"
_TRAILER_LENGTH = len(_TRAILER % (b"0" * 64))

_COMPRESS_FROM = 4096  # bytes; below this the chunk index costs more than compression saves
_STALE_AFTER = 3600.0  # seconds; by age and not by process id, which means nothing on another machine of a shared store
_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # of fsync: data did not reach the disk; else it cannot say
NOT_IDENTITY = {"identity": False}
"""Metadata of a dataclass field that bears on no number of its cell, such as where data lie on this machine."""


class CorruptFileError(OSError):
    """A stored file is not what was written, or not where it was."""


class UnwritableStoreError(OSError):
    """The results folder cannot be written to."""


class Store:
    """Datasets under `root`, one file for each cell."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def path(self, cell: Stored) -> Path:
        """The file of a cell, root/folder/label-key.nc. Raises ValueError for a folder that is not made of names."""
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", cell.folder):
            raise ValueError(f"{cell.folder!r}: names of letters, digits, '.', '_' and '-' are needed")
        label = re.sub(r"[^\w.=+-]+", "-", cell.label, flags=re.ASCII).strip("-.")[:80]
        return self.root / cell.folder / ("-".join(filter(None, (label, key(cell)))) + ".nc")

    def load(self, cell: Stored) -> xr.Dataset | None:
        """The dataset of a cell, in memory, or None if there is none; a corrupt file is logged and set aside: none.

        Corrupt is what does not match its digest, is of another cell, has no variables or no provenance, or is no file.
        Raises OSError for what the disk does not let us read.
        """
        data = _sound_bytes(self.path(cell), cell)
        return None if data is None else _decode(data)

    def save(self, cell: Stored, dataset: xr.Dataset, provenance: Mapping[str, Any]) -> Path:
        """Store a cell's dataset, replacing any earlier one in a single step, and return its file.

        The attributes `cell` and `provenance` are added to a copy of the dataset.
        Raises TypeError for a cell field or an attribute that JSON cannot hold, OSError if the disk refuses.
        """
        path = self.path(cell)
        write_dataset(path, dataset.assign_attrs({"cell": _identity(cell), "provenance": dict(provenance)}))
        return path

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells, in order, that have no sound file yet; corrupt ones are logged and set aside."""
        return [cell for cell in cells if _sound_bytes(self.path(cell), cell) is None]

    def lease(self, cell: Stored) -> AbstractContextManager[bool]:
        """Whether this process is the one to compute a cell now: False while another, of any machine, is at it."""
        return lease(self.path(cell))

    def check_writable(self) -> None:
        """Create the root, prove that it can be written to, and clear the temporary files of processes that died.

        Raises UnwritableStoreError, one line naming the folder: call it before computing anything.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # A trial write, because permission bits say nothing to root, on a full disk, or on a read-only file system.
            trial = self.root / f".trial.{uuid.uuid4().hex}.tmp"
            try:
                trial.write_bytes(b"trial")
                _synchronize(trial)
            finally:
                trial.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UnwritableStoreError(f"results folder {str(self.root)!r} cannot be written to: {reason}") from error
        places = (".", "*/v*", "runs/*")
        for temporary in itertools.chain.from_iterable(self.root.glob(f"{place}/.*.tmp") for place in places):
            with suppress(OSError):
                if time.time() - temporary.stat().st_mtime > _STALE_AFTER:
                    temporary.unlink()


def key(cell: Stored) -> str:
    """16 hexadecimal digits that identify a cell: a hash of every field of it but those marked ``NOT_IDENTITY``.

    Cells that compare equal have equal keys (1 and 1.0 are the same width), and no name of a class counts.
    Raises TypeError for a cell that is not a dataclass instance, or a field that JSON cannot hold exactly.
    """
    return hashlib.sha256(_canonical(_identity(cell)).encode()).hexdigest()[:16]


def write_dataset(path: Path | str, dataset: xr.Dataset) -> None:
    """Write a dataset and its digest to one netCDF file, atomically; the same dataset gives the same bytes.

    Attributes may be anything JSON holds: strings stay as they are, the rest is stored as JSON, and `read_dataset`
    restores it. Raises TypeError for an attribute that JSON cannot hold, and for dates; OSError if the disk refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Encodings are remains of the file a dataset came from; kept, they would give equal datasets different bytes.
    plain = dataset.drop_encoding().copy(deep=False)
    plain.attrs = _encode_attributes(plain.attrs)
    for variable in plain.variables.values():
        variable.attrs = _encode_attributes(variable.attrs)
    plain = _of_fixed_length(plain)
    with _replacing(path) as temporary:
        try:
            plain.to_netcdf(temporary, engine="netcdf4", encoding={n: _encoding(v) for n, v in plain.variables.items()})
        except RuntimeError as error:  # "NetCDF: HDF error", whatever it was: the disk itself says more
            temporary.write_bytes(bytes(plain.nbytes + 2**16))
            raise OSError(errno.EIO, str(error)) from None
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        with temporary.open("ab") as file:
            file.write(_TRAILER % digest.encode())


def write_file(path: Path | str, content: str | bytes) -> None:
    """Write a file, text in UTF-8, with a rename at the end: whole or not at all."""
    with _replacing(Path(path)) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def read_dataset(path: Path | str) -> xr.Dataset:
    """Read a file of `write_dataset` into memory; raises CorruptFileError unless it is one, with the right digest."""
    return _decode(_verified(Path(path)))


def _verified(path: Path) -> bytes:
    if not path.is_file():  # a pipe would be waited for; a link that leads nowhere is nothing
        if path.exists():
            raise CorruptFileError(f"{path} is not a file")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    data = path.read_bytes()
    body, trailer = data[:-_TRAILER_LENGTH], data[-_TRAILER_LENGTH:]
    if trailer != _TRAILER % hashlib.sha256(body).hexdigest().encode():
        raise CorruptFileError(f"{path} does not match its SHA-256 digest")
    return body


def _decode(data: bytes) -> xr.Dataset:
    # From memory, so that what is decoded is what was verified, and no file stays open. Times are left alone: xarray
    # would take a variable with units "seconds" for a time delta.
    source = xr.backends.NetCDF4DataStore(netCDF4.Dataset("in memory", memory=data))  # type: ignore[no-untyped-call]
    dataset = xr.load_dataset(source, decode_times=False, mask_and_scale=False).drop_encoding()
    dataset.attrs = _decode_attributes(dataset.attrs)
    for variable in dataset.variables.values():
        variable.attrs = _decode_attributes(variable.attrs)
    return dataset


def _of_cell(path: Path, cell: Stored) -> bytes:
    data = _verified(path)
    with netCDF4.Dataset("in memory", memory=data) as source:
        attributes = _decode_attributes({name: source.getncattr(name) for name in source.ncattrs()})
        empty = source.variables.keys() <= source.dimensions.keys()
    if _canonical(attributes.get("cell")) != _canonical(_identity(cell)):
        raise CorruptFileError(f"{path} holds another cell")
    if empty or not isinstance(attributes.get("provenance"), dict):
        raise CorruptFileError(f"{path} has no variables or no provenance")
    return data


def _sound_bytes(path: Path, cell: Stored) -> bytes | None:
    try:
        return _of_cell(path, cell)
    except FileNotFoundError:
        return None
    except CorruptFileError:
        pass
    aside = next(p for n in itertools.count(1) if not os.path.lexists(p := path.with_name(f"{path.name}.corrupt-{n}")))
    try:
        path.rename(aside)
        # Another process may have replaced the corrupt file by a sound one since we read it: then that goes back.
        data = _of_cell(aside, cell)
        aside.replace(path)
        return data
    except FileNotFoundError:  # another process set it aside first
        return None
    except CorruptFileError as error:
        _log.warning("%s%s; set aside as %s", path, str(error).removeprefix(str(aside)), aside.name)
        return None


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A new name in the folder of `path` to write to, which takes the place of `path` if the block succeeds."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _synchronize(temporary)
        temporary.replace(path)
        _synchronize(path.parent)
    except OSError as error:  # of a disk that is full, it does not say where
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _synchronize(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:  # some file systems cannot, of folders above all
        if error.errno in _LOST:
            raise


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    if variable.dtype.kind in "mM":
        raise TypeError("dates and time spans would be read back as integers: store numbers")
    compressed = {"zlib": True, "complevel": 4, "shuffle": True} if variable.nbytes >= _COMPRESS_FROM else {}
    if variable.dtype.kind == "U" and compressed:
        return compressed | {"dtype": "S1"}  # strings of variable length cannot be compressed
    if variable.dtype.kind not in "biufc":
        return {}
    # xarray marks NaN as missing in every float variable by default; here NaN is a number like the others.
    fill = {"_FillValue": None}
    return fill | compressed


def _of_fixed_length(dataset: xr.Dataset) -> xr.Dataset:
    """Strings as they were before they were stored: read back, they are objects, which cannot be compressed."""
    texts = {
        name: values.astype(str)
        for name, values in dataset.variables.items()
        if values.dtype == object and all(isinstance(value, str) for value in values.values.flat)
    }
    coordinates = {name: values for name, values in texts.items() if name in dataset.coords}
    return dataset.assign({name: texts[name] for name in texts.keys() - coordinates.keys()}).assign_coords(coordinates)


def _encode_attributes(attributes: Mapping[Any, Any]) -> dict[str, str]:
    # Sorted, for equal bytes. A string stays as it is for other programs to read, unless it would be read back as JSON.
    return {
        name: value if isinstance(value, str) and not _is_json(value) else json.dumps(value, default=_from_numpy)
        for name, value in sorted(attributes.items())
    }


def _decode_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: json.loads(value) if _is_json(value) else value for name, value in attributes.items()}


def _is_json(text: object) -> bool:
    try:
        json.loads(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _from_numpy(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"an attribute of type {type(value).__name__} cannot be stored: {value!r}")


def _canonical(identity: Any) -> str:
    return json.dumps(identity, sort_keys=True, separators=(",", ":"))


def _identity(cell: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(cell) or isinstance(cell, type):
        raise TypeError(f"a cell is a dataclass instance, not {cell!r}")
    return _fields(cell)


def _fields(value: Any) -> dict[str, Any]:
    own = [field for field in dataclasses.fields(value) if field.metadata.get("identity", True)]
    return {field.name: _plain(getattr(value, field.name)) for field in own}


def _plain(value: Any) -> Any:
    """The value as JSON would give it back; refuses what JSON would change silently (keys that are not strings)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"a cell cannot hold {value!r}: only dataclasses, mappings from strings, tuples, numbers, strings, None"
    )
