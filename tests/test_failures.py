"""What a disk or a library refuses: a line for each thing that failed; the rest is done, nothing half-written."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import xarray as xr
from scripts_fixtures import CELLS, assert_same, call, computed, copy_cells, copy_repository, files, redraw, stored
from store_fixtures import small_disk

from replication.experiments.fig1 import EXPERIMENT
from replication.study.experiment import Cell
from replication.study.store import write_dataset

ERRORS = {
    "LinAlgError: eigenvalues did not converge": lambda: np.linalg.LinAlgError("eigenvalues did not\nconverge"),
    "RuntimeError: can't allocate memory": lambda: RuntimeError("can't allocate memory"),
    "/data: Input/output error": lambda: OSError(errno.EIO, "Input/output error", "/data"),
    "out of memory": lambda: MemoryError(),
}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_figures: None, workers: int
) -> None:
    compute = type(EXPERIMENT).compute
    fails = dict(zip(("main-n16", "main-n32", "initial-n16", "sample_size-n16"), ERRORS, strict=True))

    def fail(self: Any, cell: Cell[Any], *rest: Any) -> xr.Dataset:
        if name := fails.get(cell.label.removesuffix("-seed0-9").removesuffix("-seed0-29")):
            raise ERRORS[name]()
        return compute(self, cell, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(type(EXPERIMENT), "compute", fail)
        done = call(*CELLS, f"workers={workers}", f"results={tmp_path}")
    *failures, last = done.stderr.removeprefix("error: ").splitlines()
    assert (done.returncode, done.stdout, last) == (1, "", "the other cells are stored; nothing was drawn")
    assert {re.sub(r"-seed0-\d+", "", line) for line in failures} == {f"{cell}: {why}" for cell, why in fails.items()}
    assert len(failures) == len(fails)
    assert len(stored(tmp_path)) == 13 - len(fails)
    assert "(4 of 13 cells computed now)" in call(*CELLS, f"results={tmp_path}").stdout


@pytest.mark.parametrize(("kibibytes", "kind"), [(12, "cell"), (32, "fig1")])
def test_a_full_disk(tmp_path: Path, tiny: Path, kibibytes: int, kind: str) -> None:
    """Too full for most cells, or for a figure: a line with the folder and the reason, and no temporary file."""
    copy_cells(tiny, tmp_path, *(("main", "limit") if kind == "cell" else ()))
    before = stored(tmp_path)
    with small_disk(kibibytes):
        done = call(*CELLS, f"results={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    *failures, last = done.stderr.splitlines()
    if kind == "cell":
        assert last == "the other cells are stored; nothing was drawn"
    else:
        failures.append(last)
    assert failures
    for line in failures:
        assert line.endswith(": File too large")
        assert str(tmp_path) in line
    more = stored(tmp_path).keys() - before.keys()
    assert [name.partition("-")[0] for name in more] == (["limit"] if kind == "cell" else [])
    assert not [name for name in files(tmp_path) if name.endswith(".tmp")]


# Published data

DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "fig2": ("does not match its SHA-256 digest", lambda path: path.write_bytes(b"corrupt")),
    "fig3": ("is not a file", lambda path: path.mkdir()),
    "prop1": ("No such file", lambda path: path.symlink_to(path)),
    "prop2": ("experiment=none", lambda path: write_dataset(path, xr.Dataset({"x": 1}))),
}


def test_figures_names_what_it_cannot_draw_and_draws_the_rest(tmp_path: Path, tiny: Path, plain_figures: None) -> None:
    root = copy_repository(tmp_path)
    (data,) = tiny.glob("runs/*/fig1.nc")
    shutil.copy(data, root / "figures" / "fig1.nc")
    for name, (_, damage) in DAMAGE.items():
        damage(root / "figures" / f"{name}.nc")
    done = redraw(root)
    assert done.returncode == 1
    lines = done.stderr.removeprefix("error: ").splitlines()
    for line, (name, (said, _)) in zip(lines, DAMAGE.items(), strict=True):
        assert line.startswith(f"{root / 'figures' / name}.nc cannot be drawn: ")
        assert said in line
    assert {"fig1.png", "fig1.pdf", "CLAIMS.md", "report.html"} <= {
        path.name for path in (root / "results" / "figures").iterdir()
    }

    readme = (root / "README.md").read_bytes()
    done = redraw(root, "--publish")
    assert done.returncode == 1
    assert done.stderr.endswith("the claims and the report were not written\n")
    assert (root / "README.md").read_bytes() == readme
    assert not (root / "figures" / "CLAIMS.md").exists()


def test_figures_names_a_benchmark_that_is_no_json(tmp_path: Path, tiny: Path, plain_figures: None) -> None:
    root = copy_repository(tmp_path)
    (data,) = tiny.glob("runs/*/fig1.nc")
    shutil.copy(data, root / "figures" / "fig1.nc")
    (root / "figures" / "benchmark.json").write_text("{")
    done = redraw(root)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "benchmark.json is not JSON" in line
    assert (root / "results" / "figures" / "CLAIMS.md").exists()


# The machine


def test_processes_without_semaphores(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, plain_figures: None
) -> None:
    """As with a read-only /dev/shm: what the processes would do is done by this one."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", refuse)
    copy_cells(tiny, tmp_path, "main", "limit")
    done = call(*CELLS, "workers=2", f"results={tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")
    assert computed(done) == (4, 13)
    assert_same(stored(tmp_path), stored(tiny))


@pytest.mark.parametrize("error", [wandb.Error("no service"), OSError(errno.ENOSPC, "No space left", "/runs")])
def test_what_was_computed_is_printed_even_if_tracking_fails(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, plain_figures: None, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    copy_cells(tiny, tmp_path)
    monkeypatch.setattr("replication.study.tracking.Run.summary", fail)
    done = call(*CELLS, "tracking=offline", f"results={tmp_path}")
    assert done.returncode == 1
    assert "(0 of 13 cells computed now)" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "; the figures and claims are in " in line


def test_claims_are_printed_even_if_the_figures_cannot_be_drawn(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("Axis limits cannot be NaN or Inf")

    copy_cells(tiny, tmp_path)
    monkeypatch.setattr("replication.plots.fig1.figures", fail)
    done = call(*CELLS, f"results={tmp_path}")
    assert done.returncode == 1
    assert "fig1.mean" in done.stdout
    assert done.stderr == "error: the figures cannot be drawn: ValueError: Axis limits cannot be NaN or Inf\n"
