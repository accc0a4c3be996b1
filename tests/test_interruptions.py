"""A run that is interrupted goes on; workers, or several runs on one store, compute the same cells, each once."""

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xarray as xr
from scripts_fixtures import (
    CELLS,
    TINY,
    assert_same,
    call,
    claims_table,
    computed,
    copy_cells,
    files,
    finish,
    in_background,
    script,
    start,
    stored,
)

from replication.experiments.fig1 import EXPERIMENT
from replication.study.experiment import Cell, Ensemble

pytestmark = pytest.mark.usefixtures("plain_figures")


@pytest.fixture(scope="module")
def whole(tiny: Path) -> dict[str, xr.Dataset]:
    """The cells of the tiny config, computed in one go."""
    return stored(tiny)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("signals", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_resume(whole: dict[str, xr.Dataset], tmp_path: Path, signals: signal.Signals, workers: int) -> None:
    results = tmp_path / "results"
    before = in_background() if workers > 1 else []  # that the signal is ignored at first must not matter
    options = [*CELLS, f"workers={workers}", f"results={results}"]
    process = start(*options, place=tmp_path / "place", before=before)
    while process.poll() is None and len(list(results.rglob("*.nc"))) < 3:
        time.sleep(0.002)
    children = running_children(process.pid)
    process.send_signal(signals)
    done = finish(process)
    if signals == signal.SIGINT:
        line = "error: interrupted; what was finished is stored, and the same command goes on from there\n"
        assert (done.returncode, done.stdout, done.stderr) == (130, "", line)
        if workers == 1:
            assert not list(results.rglob("*.tmp"))
    else:
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", "")
    assert len(children) == (workers if workers > 1 else 0)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):  # no worker outlives its parent
        assert time.monotonic() < deadline
        time.sleep(0.05)
    finished = stored(results)
    assert 3 <= len(finished) < len(whole)
    assert not list(results.rglob("*.png"))
    kept = files(results)

    again = call(*CELLS, f"results={results}")
    assert computed(again) == (len(whole) - len(finished), len(whole))
    assert_same(stored(results), whole)
    assert all(data == kept[name] for name, data in files(results).items() if name in kept)


def running_children(process: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_workers(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    done = call(*CELLS, "workers=2", f"results={tmp_path}", terminal=True)
    assert computed(done) == (len(whole), len(whole))
    assert re.search(r"fig1: 100%.* cell 13/13", done.stderr)
    assert_same(stored(tmp_path), whole)


def test_the_largest_cells_are_computed_alone(
    tiny: Path, whole: dict[str, xr.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with its threads, after the workers have done the others."""
    figure1, here = type(EXPERIMENT), []
    compute, ensembles = figure1.compute, figure1.ensembles

    def record(self: Any, cell: Cell[Any], *rest: Any) -> xr.Dataset:
        here.append((cell.setting.width, len(stored(tmp_path))))  # of a worker: to a list of its own
        return compute(self, cell, *rest)

    def weighed(self: Any, config: Any) -> Iterator[Ensemble[Any]]:
        for ensemble in ensembles(self, config):
            yield replace(ensemble, work=50.0 if ensemble.setting.width == 64 else 1.0)

    monkeypatch.setattr(figure1, "compute", record)
    monkeypatch.setattr(figure1, "ensembles", weighed)
    large = sum("n64" in name for name in whole)
    copy_cells(tiny, tmp_path, "main", "initial", "trend")
    missing = len(whole) - len(stored(tmp_path))
    assert 0 < large < missing - 2
    done = call(*CELLS, "workers=2", f"results={tmp_path}", terminal=True)
    assert computed(done) == (missing, len(whole))
    assert here == [(64, len(whole) - large + i) for i in range(large)]
    assert re.search(r"fig1: 100%.* cell 13/13", done.stderr)
    assert_same(stored(tmp_path), whole)


@pytest.mark.parametrize(
    ("work", "workers", "shared", "alone"),
    [
        ([1, 2, 3], 1, [], [1, 2, 3]),
        ([1, 1, 1, 1, 1], 2, [1, 1, 1, 1, 1], []),
        ([10, 1, 1, 9, 1], 2, [1, 1, 1], [10, 9]),
        ([10, 1], 2, [], [10, 1]),
        ([5], 2, [], [5]),
        ([], 2, [], []),
    ],
)
def test_cells_are_divided_by_their_part_of_the_work(
    work: list[int], workers: int, shared: list[int], alone: list[int]
) -> None:
    cells = [SimpleNamespace(work=amount) for amount in work]
    divided = script("cells")._divided(cells, [0] * len(cells), workers)
    assert tuple([cell.work for cell in part] for part in divided) == (shared, alone)


def test_networks_that_fill_the_memory_are_computed_one_after_the_other() -> None:
    cells = [SimpleNamespace(work=1, name=name) for name in "abcdef"]
    divided = script("cells")._divided(cells, [0, 2**31, 0, 2**30, 0, 0], 2)
    assert tuple([cell.name for cell in part] for part in divided) == (["a", "c", "d", "e", "f"], ["b"])


def test_a_killed_worker(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and what was finished is stored."""
    copy_cells(tiny, tmp_path, "main", "mean_field", "limit")
    compute = type(EXPERIMENT).compute

    def killed_at_32(self: Any, cell: Cell[Any], *rest: Any) -> xr.Dataset:
        if cell.setting.width == 32:
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(self, cell, *rest)

    monkeypatch.setattr(type(EXPERIMENT), "compute", killed_at_32)
    done = call(*CELLS, "workers=2", f"results={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: a worker was killed, maybe for lack of memory: try fewer workers\n"
    assert not any(name.startswith(("main-n32", "mean_field-n32")) for name in stored(tmp_path))


def test_two_runs_at_once_on_one_store(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    processes = [start(*TINY, f"results={tmp_path / 'results'}", place=tmp_path / f"place{i}") for i in range(2)]
    done = [finish(process) for process in processes]
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 2
    assert_same(stored(tmp_path / "results"), whole)
    assert sum(computed(each)[0] for each in done) == len(whole)  # no cell twice
    assert claims_table(done[0]) == claims_table(done[1])
    assert not [name for name in files(tmp_path / "results") if ".tmp" in name or ".corrupt" in name]


def test_progress_on_a_terminal(tiny: Path, tmp_path: Path) -> None:
    copy_cells(tiny, tmp_path, "main", "limit")
    done = call(*CELLS, f"results={tmp_path}", terminal=True)
    assert computed(done)[0] > 0
    assert re.search(r"fig1: +\d+%\|.*\| \d\d:\d\d<\d\d:\d\d, +cell \d+/13", done.stderr)  # the time left is known
    assert re.search(r"fig1: 100%.* cell 13/13", done.stderr)
    assert re.search(r"  main-n32-seed0-9: +\d+%\|", done.stderr)  # one bar inside the cell
