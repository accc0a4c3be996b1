"""The scripts as a user calls them: in a process of their own or, where starting one takes too long, in this one."""

import io
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import xarray as xr
from threadpoolctl import threadpool_limits

from replication.study.claims import Outcome
from replication.study.experiment import Cell, Experiment
from replication.study.settings import BaseConfig
from replication.study.store import read_dataset

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))  # the scripts import one another

# All that a run does, in a second: every kind of cell, and seeds enough for every interval.
TINY = (
    "+exp=ci/fig1",
    "tracking=disabled",
    "threads=1",
    "workers=1",
    "widths=[16,32]",
    "seeds=[0,1,2]",
    "narrow_seeds=10",
    "wide_seeds=10",
    "trend={widths: [16,32,64], seeds: 10}",
    "initial={widths: [16,32,64], seeds: 10}",
    "mean_field={widths: [16,32], seeds: 10, tolerance: 0.5}",
    "alternative_seeds=10",
    "training.n_samples=8",
    "training.t=4",
    "training.tolerance=0.1",
    "intervals=8",
)
CELLS = (*TINY, "claims=[fig1.mean]")
"""The same cells, of which one claim is decided: for tests that are about no claim."""


def script(name: str, root: Path = ROOT) -> ModuleType:
    """A script of a copy of the repository, imported."""
    spec = util.spec_from_file_location(f"_{name}", root / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def call(
    *arguments: str | Path, module: ModuleType | None = None, terminal: bool = False
) -> subprocess.CompletedProcess[str]:
    """``python scripts/run.py arguments`` (or another script) in this process, which is left as it was.

    Hydra does not compose the config once more for the sake of ``hydra.mode``, which it finds to be None: half the time
    of a command that is refused.
    """
    module = module or script("run")
    entry = module.entry if hasattr(module, "entry") else module.main
    handlers, level, threads = logging.root.handlers[:], logging.root.level, torch.get_num_threads()
    out, err = io.StringIO(), Terminal() if terminal else io.StringIO()
    command = [str(module.__file__), *map(str, arguments)]
    try:
        with (
            threadpool_limits(),
            patch.object(sys, "argv", command),
            patch("hydra._internal.hydra.Hydra.get_mode", return_value=None),
            patch.dict(os.environ),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                code = sys.modules["process"].reported(entry)
            except SystemExit as stop:
                code = stop.code
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        torch.set_num_threads(threads)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def in_background() -> list[str]:
    """What to put before a command to start it as a script does that goes on meanwhile: with SIGINT ignored."""
    return ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh"]


def start(*arguments: str | Path, place: Path, before: Sequence[str] = (), **changes: str) -> subprocess.Popen[str]:
    """``python scripts/run.py arguments`` in a process of its own, as a user with an empty home would call it.

    The working directory, home and temporary files are folders of ``place``; matplotlib's font cache, which takes
    seconds to build, is taken from the real home. Text is UTF-8, whatever the locale of this process; ``changes`` to
    the environment come last.
    """
    import matplotlib

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "XDG_"))}
    environment |= {"MPLCONFIGDIR": matplotlib.get_configdir(), "PYTHONIOENCODING": "utf-8"}
    for name, folder in (("HOME", "home"), ("TMPDIR", "tmp"), ("PWD", "work")):
        (place / folder).mkdir(parents=True, exist_ok=True)
        environment[name] = str(place / folder)
    return subprocess.Popen(
        [*before, sys.executable, str(ROOT / "scripts" / "run.py"), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=place / "work",
        env=environment | changes,
    )


def finish(process: subprocess.Popen[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """What a process of ``start`` said; it is killed if it hangs."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def computed(done: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """(cells computed, cells in all), as printed."""
    assert done.returncode == 0, done.stderr
    match = re.search(r"\((\d+) of (\d+) cells computed now\)", done.stdout)
    assert match
    return int(match[1]), int(match[2])


def claims_table(done: subprocess.CompletedProcess[str]) -> str:
    """The table of the claims, as printed."""
    return done.stdout.partition("\nfigure ")[0]


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path from there; but for what Python compiles."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def stored(results: Path) -> dict[str, xr.Dataset]:
    """The cells of a store, by file, without what differs between two computations of the same numbers."""
    actual = {}
    for path in sorted(results.glob("fig1/v*/*.nc")):
        dataset = read_dataset(path)
        del dataset.attrs["provenance"]
        actual[path.name] = dataset
    return actual


def copy_cells(results: Path, target: Path, *without: str) -> None:
    """Copy the cells of a results folder, but for those whose labels start so."""
    for path in results.glob("fig1/v*/*.nc"):
        if not path.name.startswith(without):
            copy = target / path.relative_to(results)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


def assert_same(actual: dict[str, xr.Dataset], expected: dict[str, xr.Dataset], names: Sequence[str] = ()) -> None:
    """Bit for bit the same cells (or those with the given names)."""
    assert set(names) <= actual.keys() & expected.keys()
    if not names:
        assert actual.keys() == expected.keys()
    for name in names or expected:
        xr.testing.assert_identical(actual[name], expected[name])


def assert_decided_as_listed(outcomes: Sequence[Outcome], config: BaseConfig) -> None:
    """No claim fails; each that a reduced preset does not list as undecided holds, and rejects every control."""
    for outcome in outcomes:
        too_few = outcome.claim.id in config.undecided
        allowed = {"holds", "undecided"} if too_few else {"holds"}
        assert outcome.verdict in allowed, [str(statistic) for statistic in outcome.statistics]
        assert set(outcome.controls.values()) <= ({"fails", "undecided"} if too_few else {"fails"}), outcome.claim.id


def cell_of(
    experiment: Experiment[Any, Any], setting: Any, seeds: tuple[int, ...] = (0,), kind: str = "network", **labels: Any
) -> Cell[Any]:
    """A cell of an experiment that no config asks for."""
    return Cell(
        experiment=experiment.name,
        version=experiment.version,
        draw=0,
        kind=kind,
        labels=labels,
        setting=setting,
        seeds=seeds,
        constants=experiment.constants,
    )


def copy_repository(folder: Path) -> Path:
    """What figures.py works on: a copy of the repository, without data."""
    root = folder / "repository"
    for name in ("scripts", "conf"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", root)
    for name in ("docs", "figures"):
        (root / name).mkdir()
    shutil.copy(ROOT / "docs" / "speed.md", root / "docs")
    return root


def redraw(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """``python scripts/figures.py arguments`` of a copy of the repository."""
    return call("--tracking", "disabled", *arguments, module=script("figures", root))
