"""What a disk or a library refuses: a line for each thing that failed; the rest is done, nothing half-written."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import xarray as xr
from scripts_fixtures import TINY, call, copy_repository, files, finish, redraw, start, stored

from replication.experiments.fig1 import EXPERIMENT
from replication.study.experiment import Cell
from replication.study.store import write_dataset

ERRORS = {
    "LinAlgError: eigenvalues did not converge": lambda: np.linalg.LinAlgError("eigenvalues did not\nconverge"),
    "RuntimeError: can't allocate memory": lambda: RuntimeError("can't allocate memory"),
    "/data: Input/output error": lambda: OSError(errno.EIO, "Input/output error", "/data"),
    "out of memory": lambda: MemoryError(),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the tiny config."""
    results = tmp_path_factory.mktemp("whole")
    assert call(*TINY, f"results={results}").returncode == 0
    return results


@pytest.mark.parametrize(("reason", "workers"), [*((reason, 1) for reason in ERRORS), (next(iter(ERRORS)), 2)])
def test_a_cell_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, workers: int
) -> None:
    compute = type(EXPERIMENT).compute

    def fail_at_32(self: Any, cell: Cell[Any], *rest: Any) -> xr.Dataset:
        if cell.setting.width == 32 and cell.labels["variant"] == "main":
            raise ERRORS[reason]()
        return compute(self, cell, *rest)

    monkeypatch.setattr(type(EXPERIMENT), "compute", fail_at_32)
    done = call(*TINY, f"workers={workers}", f"results={tmp_path}")
    lines = f"error: main-n32-seed0-9: {reason}\nthe other cells are stored; nothing was drawn\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", lines)
    assert len(stored(tmp_path)) == 12
    monkeypatch.undo()
    assert "(1 of 13 cells computed now)" in call(*TINY, f"results={tmp_path}").stdout


@pytest.mark.parametrize(("blocks", "kind"), [(24, "cell"), (64, "fig1")])
def test_a_full_disk(tmp_path: Path, whole: Path, blocks: int, kind: str) -> None:
    """Too full for a cell, or for a figure: one line with the folder and the reason, and no temporary file."""
    results = tmp_path / "results"
    if kind == "fig1":
        shutil.copytree(whole / "fig1", results / "fig1")
    limited = ["/bin/sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"]
    done = finish(start(*TINY, f"results={results}", place=tmp_path / "place", before=limited))
    assert (done.returncode, done.stdout) == (1, "")
    for line in done.stderr.splitlines():
        assert line.endswith((": File too large", "nothing was drawn"))
        assert str(results) in line or line.endswith("drawn")
    assert not [name for name in files(results) if name.endswith(".tmp")]


# Published data

DAMAGE: dict[str, Callable[[Path], object]] = {
    "does not match its SHA-256 digest": lambda path: path.write_bytes(b"corrupt"),
    "is not a file": lambda path: path.mkdir(),
    "experiment=none": lambda path: write_dataset(path, xr.Dataset({"x": 1})),
    "No such file": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_figures_names_what_it_cannot_draw_and_draws_the_rest(tmp_path: Path, whole: Path, said: str) -> None:
    root = copy_repository(tmp_path)
    (data,) = whole.glob("runs/*/fig1.nc")
    shutil.copy(data, root / "figures" / "fig1.nc")
    damaged = root / "figures" / "fig2.nc"
    DAMAGE[said](damaged)
    done = redraw(root)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {damaged} cannot be drawn: ")
    assert said in line
    assert {"fig1.png", "fig1.pdf", "CLAIMS.md", "report.html"} <= {
        path.name for path in (root / "results" / "figures").iterdir()
    }

    readme = (root / "README.md").read_bytes()
    done = redraw(root, "--publish")
    assert done.returncode == 1
    assert done.stderr.endswith("the claims and the report are left as they are\n")
    assert (root / "README.md").read_bytes() == readme
    assert not (root / "figures" / "CLAIMS.md").exists()


def test_figures_names_a_benchmark_that_is_no_json(tmp_path: Path, whole: Path) -> None:
    root = copy_repository(tmp_path)
    (data,) = whole.glob("runs/*/fig1.nc")
    shutil.copy(data, root / "figures" / "fig1.nc")
    (root / "figures" / "benchmark.json").write_text("{")
    done = redraw(root)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "benchmark.json is not JSON" in line
    assert (root / "results" / "figures" / "CLAIMS.md").exists()


# The machine


def test_processes_without_semaphores(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a read-only /dev/shm: what the processes would do is done by this one."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", refuse)
    done = call(*TINY, "workers=2", f"results={tmp_path / 'results'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(tmp_path / "results").keys() == stored(whole).keys()


@pytest.mark.parametrize("error", [wandb.Error("no service"), OSError(errno.ENOSPC, "No space left", "/runs")])
def test_what_was_computed_is_printed_even_if_tracking_fails(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    shutil.copytree(whole / "fig1", tmp_path / "fig1")
    monkeypatch.setattr("replication.study.tracking.Run.summary", fail)
    done = call(*TINY, "tracking=offline", f"results={tmp_path}")
    assert done.returncode == 1
    assert "(0 of 13 cells computed now)" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "; the figures and claims are in " in line


def test_claims_are_printed_even_if_the_figures_cannot_be_drawn(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("Axis limits cannot be NaN or Inf")

    shutil.copytree(whole / "fig1", tmp_path / "fig1")
    monkeypatch.setattr("replication.plots.fig1.figures", fail)
    done = call(*TINY, f"results={tmp_path}")
    assert done.returncode == 1
    assert "fig1.mean" in done.stdout
    assert done.stderr == "error: the figures cannot be drawn: ValueError: Axis limits cannot be NaN or Inf\n"
