"""The results store: one verified netCDF file for each cell. Interrupted runs resume; no partial file is ever read."""

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

# HDF5 need not lock files: no two processes write the same temporary file, and stored files are read from memory.
# Network file systems may refuse locks. HDF5 reads this variable when it is loaded.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
import netCDF4
import numpy as np
import xarray as xr

from .lease import lease


class Stored(Protocol):
    """A cell for the store: a dataclass instance whose fields are its identity, with a folder and a label."""

    @property
    def folder(self) -> str: ...

    @property
    def label(self) -> str: ...


Cell = TypeVar("Cell", bound=Stored)

_log = logging.getLogger("replication")

# The digest is the last line of the file that it covers. One rename then publishes both, so that no crash and no second
# writer can pair the digest of one version with the data of another. HDF5 ignores everything after its own end of file,
# so that other programs can open these files.
_TRAILER = b"\nsha256 %s\n"
_TRAILER_LENGTH = len(_TRAILER % (b"0" * 64))

_COMPRESS_FROM = 4096  # bytes; below this the chunk index costs more than compression saves
_STALE_AFTER = 3600.0  # seconds; age is used because process ids of other machines mean nothing here
_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # errors of fsync that mean that data did not reach the disk
NOT_IDENTITY = {"identity": False}
"""Metadata of a dataclass field that changes no number of its cell, such as the path of data on this machine."""


class CorruptFileError(OSError):
    """A stored file has changed or belongs to another cell."""


class UnwritableStoreError(OSError):
    """The results folder cannot be written to."""


class Store:
    """Datasets under `root`, one file for each cell."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def path(self, cell: Stored) -> Path:
        """The file of a cell, root/folder/label-key.nc. Raises ValueError for a folder with unusual characters."""
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", cell.folder):
            raise ValueError(f"{cell.folder!r}: names of letters, digits, '.', '_' and '-' are needed")
        label = re.sub(r"[^\w.=+-]+", "-", cell.label, flags=re.ASCII).strip("-.")[:80]
        return self.root / cell.folder / ("-".join(filter(None, (label, key(cell)))) + ".nc")

    def load(self, cell: Stored) -> xr.Dataset | None:
        """The dataset of a cell, in memory, or None if there is none. A corrupt file is logged and set aside.

        A file is corrupt if it does not match its digest, belongs to another cell, has no variables or no provenance,
        or is not a regular file. Raises OSError if the disk cannot be read.
        """
        data = _sound_bytes(self.path(cell), cell)
        return None if data is None else _decode(data)

    def save(self, cell: Stored, dataset: xr.Dataset, provenance: Mapping[str, Any]) -> Path:
        """Store a cell's dataset, replacing an earlier one in a single step, and return its file.

        The attributes `cell` and `provenance` are added to a copy of the dataset.
        Raises TypeError for a cell field or an attribute that JSON cannot hold, OSError if it cannot be written.
        """
        path = self.path(cell)
        write_dataset(path, dataset.assign_attrs({"cell": _identity(cell), "provenance": dict(provenance)}))
        return path

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells, in order, that have no sound file yet. Corrupt files are logged and set aside."""
        return [cell for cell in cells if _sound_bytes(self.path(cell), cell) is None]

    def lease(self, cell: Stored) -> AbstractContextManager[bool]:
        """Take the lease of a cell: False if another process, on any machine, is computing it now."""
        return lease(self.path(cell))

    def check_writable(self) -> None:
        """Create the root, test that it can be written to, and remove the temporary files of processes that died.

        Raises UnwritableStoreError, one line with the folder. Call it before computing anything.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # A trial write: permission bits do not help for root, a full disk or a read-only file system.
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
    """16 hexadecimal digits that identify a cell: a hash of all its fields except those marked ``NOT_IDENTITY``.

    Equal cells have equal keys (1 and 1.0 are the same width). Names of classes do not count.
    Raises TypeError for a cell that is not a dataclass instance, or a field that JSON cannot hold exactly.
    """
    return hashlib.sha256(_canonical(_identity(cell)).encode()).hexdigest()[:16]


def write_dataset(path: Path | str, dataset: xr.Dataset) -> None:
    """Write a dataset and its digest to one netCDF file, atomically. The same dataset gives the same bytes.

    An attribute may be anything that JSON can hold. Strings are stored as they are, everything else as JSON, which
    `read_dataset` restores. Raises TypeError for other attributes and for dates, OSError if the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Encodings stem from the file that a dataset was read from. They would give equal datasets different bytes.
    plain = dataset.drop_encoding().copy(deep=False)
    plain.attrs = _encode_attributes(plain.attrs)
    for variable in plain.variables.values():
        variable.attrs = _encode_attributes(variable.attrs)
    plain = _of_fixed_length(plain)
    with _replacing(path) as temporary:
        try:
            plain.to_netcdf(temporary, engine="netcdf4", encoding={n: _encoding(v) for n, v in plain.variables.items()})
        except RuntimeError as error:  # "NetCDF: HDF error" for any cause; the disk's own error says more
            temporary.write_bytes(bytes(plain.nbytes + 2**16))
            raise OSError(errno.EIO, str(error)) from None
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        with temporary.open("ab") as file:
            file.write(_TRAILER % digest.encode())


def write_file(path: Path | str, content: str | bytes) -> None:
    """Write a file atomically, by a rename at the end; text is UTF-8."""
    with _replacing(Path(path)) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def read_dataset(path: Path | str) -> xr.Dataset:
    """Read a file of `write_dataset` into memory. Raises CorruptFileError if it is none or its digest is wrong."""
    return _decode(_verified(Path(path)))


def _verified(path: Path) -> bytes:
    if not path.is_file():  # opening a pipe would wait for ever; a dangling link does not exist
        if path.exists():
            raise CorruptFileError(f"{path} is not a file")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    data = path.read_bytes()
    body, trailer = data[:-_TRAILER_LENGTH], data[-_TRAILER_LENGTH:]
    if trailer != _TRAILER % hashlib.sha256(body).hexdigest().encode():
        raise CorruptFileError(f"{path} does not match its SHA-256 digest")
    return body


def _decode(data: bytes) -> xr.Dataset:
    # From memory: the verified bytes are the decoded ones, and no file stays open. Times are not decoded: xarray would
    # take a variable with units "seconds" for a time delta.
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
        # Another process may have replaced the corrupt file by a sound one since we read it: then put that back.
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
    """A temporary name in the folder of `path`; the file takes the place of `path` if the block succeeds."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _synchronize(temporary)
        temporary.replace(path)
        _synchronize(path.parent)
    except OSError as error:  # on a full disk the error does not name the file
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
    except OSError as error:  # some file systems cannot do this, above all for folders
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
    # By default xarray marks NaN as missing in every float variable. Here NaN is a value like the others.
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
    # Sorted, for equal bytes. A string is stored as it is, for other programs, unless it would be read back as JSON.
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
    """The value as JSON would return it. Raises TypeError if JSON would change it silently (keys that are numbers)."""
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
