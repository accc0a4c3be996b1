"""Sweeps, in this process and in others: a cell is the same alone and in a sweep, and a bad value is named."""

import subprocess
from pathlib import Path

import pytest
import xarray as xr
from scripts_fixtures import CELLS, assert_same, call, computed, files, finish, start, stored

pytestmark = pytest.mark.usefixtures("plain_figures")


@pytest.fixture(scope="module")
def whole(tiny: Path) -> dict[str, xr.Dataset]:
    """The cells of the tiny config, computed in one go."""
    return stored(tiny)


def test_a_cell_is_the_same_alone_and_in_a_sweep(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    alone = [override for override in CELLS if not override.startswith(("widths", "seeds", "trend", "initial"))]
    changes = ("widths=[32]", "seeds=[7]", "trend={widths: [], seeds: 1}", "initial={widths: [64], seeds: 3}")
    call(*alone, *changes, "+alternatives.more={t: 8}", f"results={tmp_path}")
    cells = stored(tmp_path)
    shared = sorted(cells.keys() & whole.keys())
    assert [name.split("-seed")[0] for name in shared] == [
        "initial-n64",
        "limit",
        "main-n32",
        "mean_field-n16",
        "mean_field-n32",
    ]
    assert_same(cells, whole, shared)


SWEEP = ("-m", *CELLS, "widths=[16],[32]")


def assert_swept(done: subprocess.CompletedProcess[str], results: Path, whole: dict[str, xr.Dataset]) -> None:
    """Both jobs were done, into one store, which the plain command then gathers."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((results / "runs").iterdir())) == 2
    shared = sorted(stored(results).keys() & whole.keys())
    assert {"main-n16", "main-n32", "initial-n64", "sample_size-n16"} <= {name.split("-seed")[0] for name in shared}
    assert_same(stored(results), whole, shared)
    assert computed(call(*CELLS, f"results={results}")) == (0, len(whole))


def test_sweep(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    assert_swept(call(*SWEEP, f"results={tmp_path}"), tmp_path, whole)


LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_sweep_in_processes(whole: dict[str, xr.Dataset], tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    results, place = tmp_path / "results", tmp_path / "place"
    done = finish(start(*SWEEP, *LAUNCHERS[launcher], f"results={results}", place=place), timeout=300)
    assert_swept(done, results, whole)
    assert files(place) == {}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_bad_value_in_a_process_of_a_sweep(tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    results, place = tmp_path / "results", tmp_path / "place"
    sweep = ("-m", *CELLS, "widths=[0],[-1]", *LAUNCHERS[launcher], f"results={results}")
    done = finish(start(*sweep, place=place), timeout=120)
    assert done.returncode not in (0, None)
    assert "widths=[0]: must be integers ≥ 1" in done.stderr
    assert files(place) == {}
