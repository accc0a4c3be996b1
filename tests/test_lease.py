"""Of several processes one makes a file; a lease ends with its process or, on another machine, some time later."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from scripts_fixtures import script

from replication.study import lease as module
from replication.study.lease import lease


def file_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lease.tmp")


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cell.nc"
    with lease(path) as first:
        assert first
        with lease(path) as second:
            assert not second
        with lease(path.with_name("other.nc")) as other:
            assert other
        assert file_of(path).exists()
    assert list(path.parent.iterdir()) == []
    with lease(path) as again:
        assert again


def test_it_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lease(tmp_path / "cell.nc"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_of_many_threads_one_gets_it(tmp_path: Path) -> None:
    got, barrier = [], threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        with lease(tmp_path / "cell.nc") as ours:
            got.append(ours)
            barrier.wait()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_that_of_a_process_that_was_killed_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "cell.nc"
    code = (
        "import os, sys, pathlib; from replication.study.lease import lease\n"
        "with lease(pathlib.Path(sys.argv[1])) as ours: assert ours; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert file_of(path).exists()
    with lease(path) as ours:
        assert ours


def test_that_of_another_machine_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cell.nc"
    file_of(path).write_text("1 another machine")
    with lease(path) as ours:
        assert not ours
    os.utime(file_of(path), (time.time() - module.EXPIRES_AFTER - 1,) * 2)
    with lease(path) as ours:
        assert ours

    monkeypatch.setattr(module, "RENEWED_EVERY", 0.01)
    with lease(path):
        os.utime(file_of(path), (0, 0))
        deadline = time.monotonic() + 30
        while file_of(path).stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_folder_that_takes_no_lease_is_no_obstacle() -> None:
    with lease(Path("/proc/self/cell.nc")) as ours:
        assert ours


@pytest.mark.parametrize("fate", ["finished", "gave up"])
def test_cells_of_another_run_are_waited_for(monkeypatch: pytest.MonkeyPatch, fate: str) -> None:
    """Those that it finishes are not computed, those that it gives up are."""
    cells = script("cells")
    outcomes = {"a": [True], "b": [None, None, fate == "gave up"]}
    monkeypatch.setattr(cells, "_WAIT", 0.0)
    monkeypatch.setattr(cells, "refuse_too_wide", lambda *_: None)
    monkeypatch.setattr(cells, "compute", lambda cell, *_: outcomes[cell.label].pop(0))
    missing = [SimpleNamespace(label=label, work=1.0, setting=None) for label in "ab"]
    experiment = SimpleNamespace(name="test", cells=lambda config: missing, least_nbytes=lambda cell, width: 0)
    config = SimpleNamespace(device="cpu", workers=1, threads=1, quiet=True)
    store = SimpleNamespace(missing=lambda asked: asked)
    number, failures, _ = cells.compute_missing(experiment, config, store)
    assert (number, failures) == (1 + (fate == "gave up"), [])
    assert outcomes == {"a": [], "b": []}
