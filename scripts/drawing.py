"""Draw published data side by side: each file's figures and, where they are to be decided, its claims."""

import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any

import process
from cells import worker_processes

if TYPE_CHECKING:
    import xarray as xr

    from replication.study.experiment import Experiment
    from replication.study.record import Preset
    from replication.study.statistics import Statistic

_IMPORTED = ("hydra", "replication.plots", "replication.study.recorded")
"""What the processes are forked with."""


@dataclass(frozen=True)
class Task:
    """A file of published data, the folder and the name of its figures, and what the record says of it.

    recorded: None where the claims are to be decided.
    """

    path: Path
    name: str
    target: Path
    recorded: "Preset | None"
    unmarked: Mapping[str, int]


@dataclass(frozen=True)
class Drawn:
    """What came of a task. left: why it was left as it is. decided: of each claim its statistics, and on controls.

    decided: None where the record's are taken.
    """

    attrs: "Mapping[str, Any]"
    left: str = ""
    decided: "Sequence[tuple[Sequence[Statistic], Mapping[str, Sequence[Statistic]]]] | None" = None
    figures: "Mapping[str, Path] | None" = None
    plot: "Mapping[str, Any] | None" = None
    failure: str = ""


def read_published(path: Path, unmarked: Mapping[str, int]) -> "tuple[Experiment[Any, Any], xr.Dataset]":
    """Published data and their experiment; data from before provenance was kept get the attributes that it brought.

    unmarked: the versions of such data. Raises ConfigError for data of no experiment, CorruptFileError for no data.
    """
    from replication.experiments import load
    from replication.study.store import read_dataset

    dataset = read_dataset(path)
    experiment = load(dataset.attrs.get("experiment", "none"))
    if "version" not in dataset.attrs:
        version = unmarked.get(experiment.name, experiment.version)
        dataset = dataset.assign_attrs(version=version, engine=1, draw=0, provenance=[])
    return experiment, dataset


def drawn(task: Task) -> Drawn:
    """Do a task; whatever is wrong with its file is told in ``failure``."""
    try:
        return _drawn(task)
    except Exception as error:
        return Drawn({}, failure=f"{task.path} cannot be drawn: {process.reason(error)}")


def _drawn(task: Task) -> Drawn:
    from replication.plots import draw, interactive
    from replication.study import guide
    from replication.study.claims import decide
    from replication.study.recorded import is_of

    experiment, dataset = read_published(task.path, task.unmarked)
    version = dataset.attrs["version"]
    if version != experiment.version:
        left = f"{task.path} is not redrawn: its version is {version}, not {experiment.version}"
        return Drawn(dataset.attrs, left=left)
    claims, decided = experiment.claims_of(dataset.attrs.get("claims")), None
    if task.recorded and is_of(task.recorded, claims, dataset.attrs):
        numbers = guide.numbers(task.recorded)
    else:
        outcomes = decide(claims, dataset)
        numbers, decided = guide.measured(outcomes), [(own.statistics, own.on_controls) for own in outcomes]
    figures = draw(experiment.name, dataset, (task.target / task.name).parent, numbers)
    return Drawn(dataset.attrs, decided=decided, figures=figures, plot=interactive(task.name, dataset))


def all_drawn(tasks: Sequence[Task]) -> list[Drawn]:
    """What comes of each task, in their order; with two or more, in as many processes as there are cores."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    together = len(tasks) > 1 and process.semaphores()
    if together and sys.platform == "linux":
        # Not forked from this process, which may have used threads: from one that imports, and does nothing else. It
        # does so while this one imports too.
        context.set_forkserver_preload([*_IMPORTED])
        forkserver.ensure_running()
    from replication.study.machine import cores

    workers = min(cores(), len(tasks)) if together else 1
    if workers == 1:
        return [drawn(task) for task in tasks]
    with worker_processes(workers, context) as pool:
        largest_first = sorted(tasks, key=lambda task: task.path.is_file() and -task.path.stat().st_size)
        futures = {task.path: pool.submit(drawn, task) for task in largest_first}
        return [futures[task.path].result() for task in tasks]
