"""Run an experiment: config → cells → figures → claims → tracking. See ``python scripts/run.py --help``.

Everything is written under the results folder: the store of cells, and a folder of this config with its figures, data,
claims and Weights & Biases record. Only ``scripts/figures.py --publish`` writes the published figures.
"""

import gc
import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import process
from cells import compute_missing, missing_cells, peak_memory
from compose import CONF, checked, composing, named, presets, typed
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from listing import HELP, listing
from omegaconf import DictConfig, OmegaConf
from process import RunError, UserError

if TYPE_CHECKING:
    from replication.study.experiment import Cell, Experiment
    from replication.study.settings import BaseConfig
    from replication.study.store import Store
    from replication.study.tracking import Run


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(composed: DictConfig) -> None:
    try:
        name = HydraConfig.get().runtime.choices.get("exp")
        if name is None:
            raise UserError(f"choose an experiment with +exp=<name>: {', '.join(presets())}")
        run_experiment(named(composed, name))
    except Exception as error:
        _failed.append(error)
        # Hydra announces an exception in a line of its own; a job of a sweep may be in another process, and must raise.
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise


_failed: list[Exception] = []


def run_experiment(composed: DictConfig) -> None:
    """Compute what is missing, then draw, decide and print; its record is open from the beginning."""
    experiment, config = typed(composed)
    from replication.study.machine import cores
    from replication.study.store import Store, UnwritableStoreError
    from replication.study.tracking import TrackingError, check
    from replication.study.tracking import run as tracked

    process.set_threads(config.threads or cores())
    store = Store(config.results)
    tags = [config.preset, *config.tracking.tags]
    try:
        check(config.tracking.mode, config.tracking.project, tags)
        store.check_writable()
    except (TrackingError, UnwritableStoreError) as error:
        raise UserError(str(error)) from None
    missing = missing_cells(experiment, config, store)
    folder = run_folder(store.root, config)
    try:
        with tracked(
            mode=config.tracking.mode,  # type: ignore[arg-type]
            project=config.tracking.project,
            entity=config.tracking.entity,
            experiment=experiment.name,
            job_type="run",
            config=OmegaConf.to_container(composed, resolve=True),  # type: ignore[arg-type]
            directory=folder,
            tags=tags,
        ) as run:
            computed_and_drawn(experiment, config, store, missing, folder, run)
    except TrackingError as error:
        raise RunError(str(error)) from None


def computed_and_drawn(
    experiment: "Experiment[Any, Any]",
    config: "BaseConfig",
    store: "Store",
    missing: "list[Cell[Any]]",
    folder: Path,
    run: "Run",
) -> None:
    """A run of an experiment, told to its record as it goes on."""
    start = time.perf_counter()
    from replication.plots import draw
    from replication.study.claims import decide
    from replication.study.gather import gather
    from replication.study.report import Section, markdown, text, words
    from replication.study.store import write_dataset, write_file

    def watch(cell: "Cell[Any]", done: int, total: int) -> None:
        with suppress(Exception):  # the computing goes on; at the end the same error is told
            if config.tracking.mode != "disabled" and (dataset := store.load(cell)) is not None:
                run.cell(cell.label, dataset, done, total, peak_memory())

    gc.freeze()  # what was imported stays: nothing to look through at the end, nothing for a worker to copy
    computed, failures, shared_peak = compute_missing(experiment, config, store, missing, watch)
    if failures:
        raise RunError("\n".join([*failures, "the other cells are stored; nothing was drawn"]))

    dataset = gather(experiment, config, store)
    outcomes = decide(experiment.claims_of(config.claims), dataset)
    try:
        figures, problem = draw(experiment.name, dataset, folder), ""
    except Exception as error:  # the claims are decided all the same
        figures, problem = {}, f"the figures cannot be drawn: {process.reason(error)}"
    write_dataset(folder / f"{experiment.name}.nc", dataset)
    section = Section(config.preset, dataset.attrs, outcomes, figures)
    write_file(folder / "CLAIMS.md", markdown([section], {}, folder))
    wall_time, peak = time.perf_counter() - start, max(shared_peak, peak_memory())
    print(words(config.preset, outcomes))
    if not config.quiet:
        print(f"\n{text(outcomes)}")
    print()
    for i, path in enumerate(figures.values()):
        print(f"{'' if i else 'figure':10} {path}")
    print(f"claims     {folder / 'CLAIMS.md'}")
    cells = f"{computed} of {dataset.attrs['cells']} cells computed now"
    print(f"results    {store.root / experiment.cells(config)[0].folder} ({cells})")
    print(f"wall time  {wall_time:.1f} s, peak memory {peak:.2f} GiB")
    try:
        run.metrics(experiment.metrics(dataset))
        for name, path in figures.items():
            run.figure(name, path)
        run.claims([outcome.row() for outcome in outcomes])
        run.summary({"wall_time": wall_time, "peak_memory_GiB": peak, "cells_computed": computed})
    except Exception as error:
        raise RunError(f"{process.reason(error)}; the figures and claims are in {folder}") from None
    if problem:
        raise RunError(problem)


def run_folder(root: Path, config: "BaseConfig") -> Path:
    """Folder of a config's figures and claims: its preset, and a hash of all that bears on the numbers."""
    from replication.study.record import settings

    digest = hashlib.sha256(json.dumps(settings(config), sort_keys=True).encode()).hexdigest()[:8]
    draw = f"draw{config.draw}-" if config.draw else ""
    return root / "runs" / f"{config.preset.replace('/', '-')}-{draw}{digest}"


def entry() -> None:
    """``main``, with what Hydra says of a config as a UserError; without any argument, a list of the experiments."""
    if len(sys.argv) == 1 or {"-h", "--help"} & set(sys.argv):
        print(listing() if len(sys.argv) == 1 else HELP)
        return
    # The jobs of a sweep, in processes of their own, import what this script imports from beside it.
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print a traceback and exit; here its errors come as exceptions
    _failed.clear()
    sys.argv[1:] = checked(sys.argv[1:])
    try:
        main()
    except Exception as error:
        raise _failed.pop() if _failed else composing(error) from None
    if _failed:
        raise _failed.pop()


if __name__ == "__main__":
    sys.exit(process.run(entry, "interrupted; what was finished is stored, and the same command goes on from there"))
