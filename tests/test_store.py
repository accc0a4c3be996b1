"""The store's promises: same cell, same key; what is read is what was written; no crash and no race breaks either."""

import errno
import fcntl
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from replication.study import provenance
from replication.study.store import (
    NOT_IDENTITY,
    CorruptFileError,
    Store,
    UnwritableStoreError,
    key,
    read_dataset,
    write_dataset,
)


@dataclass(frozen=True)
class Descent:
    learning_rate: float = 1.0


@dataclass(frozen=True)
class Data:
    name: str = "digits"
    folder: str | None = field(default=None, metadata=NOT_IDENTITY)


@dataclass(frozen=True)
class Cell:
    width: int = 500
    seeds: tuple[int, ...] = (0, 1)
    beta: float = 0.1
    sigma: str = "relu"
    bias: bool = True
    target: str | None = None
    solver: Any = Descent()
    options: dict[str, float] = field(default_factory=lambda: {"a": 1.5, "b": 2.5})

    @property
    def label(self) -> str:
        return f"n={self.width} σ/{self.sigma}"

    @property
    def folder(self) -> str:
        return "fig1/v3"


@dataclass(frozen=True)
class Elsewhere:
    folder: str
    label: str = "cell"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def dataset(seed: int = 0, points: int = 2000) -> xr.Dataset:
    generator = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "theta": (("seed", "gamma"), generator.normal(size=(2, points)), {"units": "seconds", "log": False}),
            "loss": ("seed", np.array([np.nan, np.inf], np.float32)),
            "lazy": ("seed", np.array([True, False])),
            "many": ("gamma", generator.normal(size=points) > 0),
            "steps": ("seed", np.array([3, -4], np.int32)),
            "sigma": ("seed", np.array(["relu", "erf"])),
            "empty": ("none", np.zeros(0)),
            "t": ((), 200.0, {"units": "days since 2018-06-20"}),
        },
        {"gamma": ("gamma", np.linspace(-np.pi, np.pi, points), {"symbol": "γ"}), "seed": [0, 1]},
        {"title": "the NTK", "none": None, "true": True, "nested": {"a": [1, 2.5, None]}, "text": "1", "word": "null"},
    )


def assert_same(actual: xr.Dataset | None, expected: xr.Dataset) -> None:
    assert actual is not None
    extra = {"cell", "provenance"} - expected.attrs.keys()
    xr.testing.assert_identical(_without(actual, extra), expected)
    assert {n: v.dtype for n, v in actual.variables.items()} == {n: v.dtype for n, v in expected.variables.items()}


def _without(data: xr.Dataset, attributes: set[str]) -> xr.Dataset:
    data = data.copy()
    data.attrs = {name: value for name, value in data.attrs.items() if name not in attributes}
    return data


class TestKey:
    def test_is_stable(self) -> None:
        # A change here orphans every stored result: bump the experiments' VERSION instead if that is what is meant.
        assert key(Cell()) == "cfd6981b732af0d1"

    @pytest.mark.parametrize(
        "change",
        [
            {"width": 501},
            {"seeds": (1, 0)},
            {"seeds": ()},
            {"beta": 0.1 + 1e-17 + 2e-17},
            {"sigma": "Relu"},
            {"bias": False},
            {"bias": 1},
            {"target": ""},
            {"target": "null"},
            {"solver": Descent(0.5)},
            {"options": {"a": 2.5, "b": 1.5}},
            {"options": {"a": 1.5}},
        ],
        ids=str,
    )
    def test_depends_on_every_field(self, change: dict[str, Any]) -> None:
        assert key(replace(Cell(), **change)) != key(Cell())

    def test_depends_on_no_name_of_a_class(self) -> None:
        """A class that is renamed orphans no store."""

        @dataclass(frozen=True)
        class Renamed:
            learning_rate: float = 1.0

        assert key(replace(Cell(), solver=Renamed())) == key(Cell())

    @pytest.mark.parametrize(
        "change",
        [{"options": {"b": 2.5, "a": 1.5}}, {"width": 500.0}, {"seeds": [0, 1]}, {"solver": Descent(1)}],
        ids=str,
    )
    def test_ignores_how_a_value_is_written(self, change: dict[str, Any]) -> None:
        assert key(replace(Cell(), **change)) == key(Cell())

    def test_ignores_fields_that_bear_on_no_number(self) -> None:
        assert key(Data(folder="/here")) == key(Data(folder=None))
        assert key(Data("other")) != key(Data())
        inside = [key(replace(Cell(), solver=data)) for data in (Data(), Data(folder="/here"), Data("other"))]
        assert inside[0] == inside[1] != inside[2]

    @pytest.mark.parametrize("value", [{1: 2}, {1, 2}, np.float32(1), np.zeros(2), object(), Path(), Descent], ids=type)
    def test_refuses_what_json_would_change(self, value: object) -> None:
        with pytest.raises(TypeError, match="cannot hold"):
            key(replace(Cell(), target=value))  # type: ignore[arg-type]

    def test_refuses_a_cell_that_is_no_dataclass(self) -> None:
        with pytest.raises(TypeError, match="dataclass instance"):
            key({"width": 500})
        with pytest.raises(TypeError, match="dataclass instance"):
            key(Cell)

    def test_path_is_readable(self, store: Store) -> None:
        path = store.path(Cell())
        assert path == store.root / "fig1" / "v3" / f"n=500-relu-{key(Cell())}.nc"
        for folder in ("../fig1", "/fig1", "fig1/", ""):
            with pytest.raises(ValueError, match="names of letters"):
                store.path(Elsewhere(folder))


class TestRoundTrip:
    def test_values_types_and_attributes(self, store: Store) -> None:
        data = dataset()
        before = data.copy(deep=True)
        path = store.save(Cell(), data, {"device": "cpu", "dirty": None})
        xr.testing.assert_identical(data, before)
        loaded = store.load(Cell())
        assert loaded is not None
        assert_same(loaded, data)
        assert loaded.attrs["provenance"] == {"device": "cpu", "dirty": None}
        assert loaded.attrs["cell"]["target"] is None
        assert loaded.attrs["cell"]["solver"] == {"learning_rate": 1}
        path.unlink()  # in memory: the values outlive the file
        assert float(loaded.theta.sum()) == float(data.theta.sum())
        assert_same(read_dataset(store.save(Cell(), loaded, {})), data)

    def test_is_a_compressed_netcdf_file_to_others(self, store: Store) -> None:
        data = xr.Dataset({"theta": ("x", np.zeros(10**5))}, attrs={"flag": True, "title": "NTK"})
        path = store.save(Cell(), data, {})
        assert path.stat().st_size < 50_000
        with xr.open_dataset(path) as foreign:
            xr.testing.assert_equal(foreign, data)
            assert foreign.attrs["flag"] == "true"
            assert foreign.attrs["title"] == "NTK"
            assert json.loads(foreign.attrs["cell"])["width"] == 500

    def test_missing_and_load_of_nothing(self, store: Store) -> None:
        cells = [Cell(width=n) for n in (3, 1, 2)]
        assert store.missing(cells) == cells
        assert store.load(cells[0]) is None
        store.save(cells[1], dataset(), {})
        assert store.missing(cells) == [cells[0], cells[2]]

    @pytest.mark.parametrize(
        "data",
        [
            xr.Dataset(attrs={"x": object()}),
            xr.Dataset({"a": ("x", [1.0], {"bytes": b"1"})}),
            xr.Dataset({"a": np.datetime64("2018-06-20", "ns")}),
        ],
    )
    def test_refuses_what_would_not_come_back(self, store: Store, data: xr.Dataset) -> None:
        with pytest.raises(TypeError):
            store.save(Cell(), data, {})
        assert not [path for path in store.root.rglob("*") if path.is_file()]

    def test_provenance(self) -> None:
        record = provenance.provenance(device="cpu", wall_time=1.5)
        assert json.loads(json.dumps(record)) == record
        assert record["wall_time"] == 1.5
        assert record["packages"]["xarray"] == xr.__version__
        assert record["packages"].keys() >= {"torch", "numpy", "netCDF4"}

    def test_provenance_without_git(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert provenance.git_state.__wrapped__() == ("unknown", None)

    @pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
    def test_provenance_in_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def git(*arguments: str) -> str:
            command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

        for name in [name for name in os.environ if name.startswith("GIT_")]:
            monkeypatch.delenv(name)
        module = tmp_path / "results.py"
        module.write_text("1")
        monkeypatch.setattr(provenance, "__file__", str(module))
        git("init")
        git("commit", "--allow-empty", "-m", "of a repository that only surrounds an installed package")
        assert provenance.git_state.__wrapped__() == ("unknown", None)
        git("add", ".")
        git("commit", "-m", "ours")
        git("tag", "v1.0-rc1")
        commit = git("rev-parse", "HEAD")
        assert provenance.git_state.__wrapped__() == (commit, False)
        module.write_text("2")
        assert provenance.git_state.__wrapped__() == (commit, True)


class TestCorruption:
    @pytest.mark.parametrize("position", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
    def test_one_flipped_bit(self, store: Store, caplog: pytest.LogCaptureFixture, position: float) -> None:
        path = store.save(Cell(), dataset(points=300), {})
        content = bytearray(path.read_bytes())
        content[round(position * (len(content) - 1))] ^= 4
        path.write_bytes(content)
        self.check_set_aside(store, path, caplog)

    @pytest.mark.parametrize("length", [0, 1, 72, 73, 1000, -1, -73])
    def test_truncation(self, store: Store, caplog: pytest.LogCaptureFixture, length: int) -> None:
        path = store.save(Cell(), dataset(points=300), {})
        path.write_bytes(path.read_bytes()[:length])
        self.check_set_aside(store, path, caplog)

    def check_set_aside(self, store: Store, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        corrupt = path.read_bytes()
        with pytest.raises(CorruptFileError, match="digest"):
            read_dataset(path)
        with caplog.at_level(logging.WARNING, logger="replication"):
            assert store.load(Cell()) is None
        (message,) = caplog.messages
        assert str(path) in message
        assert "\n" not in message
        assert path.with_name(path.name + ".corrupt-1").read_bytes() == corrupt
        assert store.missing([Cell()]) == [Cell()]
        store.save(Cell(), dataset(), {})
        assert_same(store.load(Cell()), dataset())

    def test_missing_reports_it_and_evidence_is_kept(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        for n in (1, 2):
            path = store.save(Cell(), dataset(), {})
            path.write_bytes(b"not netCDF")
            assert store.missing([Cell()]) == [Cell()]
            assert path.with_name(f"{path.name}.corrupt-{n}").exists()
        assert len(caplog.messages) == 2

    def test_a_sound_file_that_came_meanwhile_is_kept(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        path = store.save(Cell(), dataset(), {})
        sound = path.read_bytes()
        path.write_bytes(b"corrupt")
        rename = Path.rename

        def replaced_before_the_rename(self: Path, target: Path) -> Path:
            path.write_bytes(sound)
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", replaced_before_the_rename)
        assert_same(store.load(Cell()), dataset())
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize("kind", ["folder", "pipe", "loop of links", "link to nothing"])
    def test_what_is_no_file_is_set_aside(self, store: Store, caplog: pytest.LogCaptureFixture, kind: str) -> None:
        path = store.path(Cell())
        path.parent.mkdir(parents=True)
        make = {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "loop of links": lambda: path.symlink_to(path)}
        make.get(kind, lambda: path.symlink_to(path.with_name("nothing")))()
        assert store.missing([Cell()]) == [Cell()]
        assert len(caplog.messages) == (kind in ("folder", "pipe"))
        store.save(Cell(), dataset(), {})
        assert_same(store.load(Cell()), dataset())

    def test_an_unreadable_disk_is_not_corruption(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        path = store.save(Cell(), dataset(), {})

        def unreadable(self: Path) -> bytes:
            raise OSError(errno.EIO, "Input/output error", str(self))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", unreadable)
            with pytest.raises(OSError, match="Input/output"):
                store.missing([Cell()])
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    def test_a_cell_under_the_name_of_another_is_set_aside(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        source, target = store.save(Cell(), dataset(), {}), store.path(Cell(beta=0.2))
        target.write_bytes(source.read_bytes())
        assert store.load(Cell(beta=0.2)) is None
        assert caplog.messages == [f"{target} holds another cell; set aside as {target.name}.corrupt-1"]
        assert store.missing([Cell(), Cell(beta=0.2)]) == [Cell(beta=0.2)]
        assert_same(store.load(Cell()), dataset())

    @pytest.mark.parametrize("lost", ["variables", "provenance", "cell"])
    def test_a_cell_without_a_part_is_set_aside(
        self, store: Store, caplog: pytest.LogCaptureFixture, lost: str
    ) -> None:
        path = store.save(Cell(), dataset(), {})
        data = read_dataset(path)
        if lost == "variables":
            data = data.drop_vars(list(data.data_vars))
        else:
            del data.attrs[lost]
        write_dataset(path, data)
        assert store.missing([Cell()]) == [Cell()]
        assert len(caplog.messages) == 1


def in_fresh_process(function: str, *arguments: Path | str, **environment: str) -> None:
    """Call a function of this module where forking is safe: no thread of another test runs there."""
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import test_store; test_store.{function}(*sys.argv[2:])"
    command = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent), *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120, env=os.environ | environment)


def save_and_be_killed(root: str) -> None:
    store = Store(root)
    start = time.perf_counter()
    store.save(Cell(), dataset(), {})
    duration = time.perf_counter() - start
    store.path(Cell()).unlink()
    generator = np.random.default_rng(0)
    read_back = 0
    for _ in range(40):
        child = os.fork()
        if child == 0:
            while True:
                store.save(Cell(), dataset(), {"wall_time": time.time()})
        time.sleep(generator.uniform(0, 2 * duration))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded = store.load(Cell())
        if loaded is not None:
            assert_same(loaded, dataset())
            read_back += 1
    assert read_back > 5


def save_side_by_side(root: str) -> None:
    store = Store(root)
    children = []
    for writer in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for n in list(range(3)) * 6:
                    store.save(Cell(width=n), dataset(writer, 10 + 500 * writer), {"wall_time": time.time()})
                    loaded = store.load(Cell(width=n))
                    assert loaded is not None
                    assert_same(loaded, dataset(0, 10) if loaded.sizes["gamma"] == 10 else dataset(1, 510))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def copy_dataset(source: str, target: str) -> None:
    write_dataset(target, read_dataset(source))


def save_on_a_full_disk(root: str, kibibytes: str) -> None:
    limit = 1024 * int(kibibytes)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    store = Store(root)
    with pytest.raises(OSError, match="File too large"):
        store.save(Cell(), dataset(points=10_000), {})


class TestInterruption:
    @pytest.mark.slow
    def test_kill_at_any_instant(self, store: Store) -> None:
        in_fresh_process("save_and_be_killed", store.root)
        names = [path.name for path in store.path(Cell()).parent.iterdir()]
        interrupted = [name for name in names if name.endswith(".tmp")]
        assert len(interrupted) > 5  # kills did hit saves half-way
        assert len(names) == len(interrupted) + 1  # nothing was set aside

    def test_two_processes_on_the_same_cells(self, store: Store) -> None:
        in_fresh_process("save_side_by_side", store.root)
        assert store.missing([Cell(width=n) for n in range(3)]) == []
        assert len(list((store.root / "fig1" / "v3").iterdir())) == 3

    def test_a_failed_write_leaves_nothing(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        path = store.save(Cell(), dataset(1), {})

        def full(self: Path, target: Path) -> Path:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full)
            with pytest.raises(OSError, match="No space"):
                store.save(Cell(), dataset(2), {})
        assert_same(store.load(Cell()), dataset(1))
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    def test_a_disk_that_cannot_synchronize(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """As some network file systems, which refuse folders; what is lost is an error all the same."""
        error = errno.EINVAL

        def refuse(descriptor: int) -> None:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(os, "fsync", refuse)
        store.check_writable()
        store.save(Cell(), dataset(1), {})
        error = errno.ENOSPC
        with pytest.raises(OSError, match="No space"):
            store.save(Cell(), dataset(2), {})
        assert_same(store.load(Cell()), dataset(1))

    def test_no_file_is_locked(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Network file systems may refuse locks: here another process holds one."""
        name = uuid.UUID(int=1)
        monkeypatch.setattr(uuid, "uuid4", lambda: name)
        path = store.path(Cell())
        path.parent.mkdir(parents=True)
        temporary = path.with_name(f".{path.name}.{name.hex}.tmp")
        with temporary.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            store.save(Cell(), dataset(), {})
        assert_same(store.load(Cell()), dataset())

    @pytest.mark.parametrize("kibibytes", [8, 64])
    def test_a_full_disk_says_why_and_leaves_nothing(self, store: Store, kibibytes: int) -> None:
        in_fresh_process("save_on_a_full_disk", store.root, str(kibibytes))
        assert list(store.path(Cell()).parent.iterdir()) == []

    def test_stale_temporaries(self, store: Store) -> None:
        path = store.save(Cell(), dataset(), {})
        stale, fresh = (path.with_name(f".{path.name}.{name}.tmp") for name in ("stale", "fresh"))
        for temporary in (stale, fresh):
            temporary.write_bytes(b"half")
        os.utime(stale, (time.time() - 7200,) * 2)
        assert store.missing([Cell()]) == []
        store.check_writable()
        assert sorted(p.name for p in path.parent.iterdir()) == [fresh.name, path.name]
        assert [p.name for p in store.root.iterdir()] == ["fig1"]


class TestWritable:
    def test_creates_the_root(self, store: Store) -> None:
        store.check_writable()
        assert store.root.is_dir()
        assert not list(store.root.iterdir())

    @pytest.mark.parametrize("root", ["file", "file/below"])
    def test_a_file_in_the_way(self, tmp_path: Path, root: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UnwritableStoreError) as caught:
            Store(tmp_path / root).check_writable()
        assert str(tmp_path / root) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_folder_that_refuses(self) -> None:
        with pytest.raises(UnwritableStoreError, match=r"'/proc/.*cannot be written"):
            Store("/proc/self").check_writable()


class TestCommittedFiles:
    def test_same_bytes_in_another_process_at_another_time(self, tmp_path: Path) -> None:
        here = tmp_path / "here.nc"
        write_dataset(here, dataset())
        time.sleep(1.1)  # a time stamp, were there one, would count seconds
        for seed in ("1", "2"):
            there = tmp_path / f"there{seed}.nc"
            in_fresh_process("copy_dataset", here, there, PYTHONHASHSEED=seed)
            assert there.read_bytes() == here.read_bytes()
        assert_same(read_dataset(here), dataset())

    def test_order_of_attributes_and_origin_do_not_matter(self, tmp_path: Path) -> None:
        data = dataset()
        reordered = data.copy()
        reordered.attrs = dict(reversed(data.attrs.items()))
        reordered.encoding = {"unlimited_dims": {"gamma"}}
        reordered.variables["theta"].encoding = {"zlib": True, "complevel": 9}
        write_dataset(tmp_path / "a.nc", data)
        write_dataset(tmp_path / "b.nc", reordered)
        assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()
        write_dataset(tmp_path / "b.nc", data.assign_attrs(none=0))
        assert (tmp_path / "a.nc").read_bytes() != (tmp_path / "b.nc").read_bytes()


def test_many_strings_take_little_room(tmp_path):
    names = np.array(["main", "ünequal-64-512", ""] * 20_000)
    dataset = xr.Dataset({"variant": ("network", names)}, coords={"hidden": ("network", names[::-1])})
    write_dataset(tmp_path / "a.nc", dataset)
    assert read_dataset(tmp_path / "a.nc").identical(dataset)
    assert (tmp_path / "a.nc").stat().st_size < 60_000


def test_what_is_read_is_written_again_in_the_same_bytes(tmp_path: Path) -> None:
    """Strings, which come back as objects, above all: those of variable length would take ten times the room."""
    texts = ["narrow" if i % 3 else "wide" for i in range(5000)]
    data = xr.Dataset(
        {"x": ("network", np.arange(5000.0)), "variant": ("network", texts), "few": ("place", ["here", "there"])},
        coords={"label": ("network", texts), "place": ["a", "bc"]},
        attrs={"claims": ["a.b"]},
    )
    write_dataset(tmp_path / "a.nc", data)
    write_dataset(tmp_path / "b.nc", read_dataset(tmp_path / "a.nc"))
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()
