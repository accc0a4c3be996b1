"""No crash, race or full disk leaves a half-written cell, nor a lock or a temporary file behind."""

import errno
import fcntl
import os
import signal
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from store_fixtures import Cell, assert_same, dataset, in_fresh_process, small_disk

from replication.study.store import Store


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


class TestInterruption:
    @pytest.mark.slow
    def test_kill_at_any_instant(self, store: Store) -> None:
        in_fresh_process(save_and_be_killed, store.root)
        names = [path.name for path in store.path(Cell()).parent.iterdir()]
        interrupted = [name for name in names if name.endswith(".tmp")]
        assert len(interrupted) > 5  # kills did hit saves half-way
        assert len(names) == len(interrupted) + 1  # nothing was set aside

    def test_two_processes_on_the_same_cells(self, store: Store) -> None:
        in_fresh_process(save_side_by_side, store.root)
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
        with small_disk(kibibytes), pytest.raises(OSError, match="File too large"):
            store.save(Cell(), dataset(points=10_000), {})
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
