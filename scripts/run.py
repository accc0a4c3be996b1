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
from hydra.core.override_parser.overrides_parser import OverridesParser
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
        if HydraConfig.get().runtime.choices["hydra/launcher"] in _HERE:
            process.end_with(int(os.environ[_SWEEP]))
        name = HydraConfig.get().runtime.choices.get("exp")
        if name is None:
            raise UserError(f"choose an experiment with +exp=<name>: {', '.join(presets())}")
        run_experiment(named(composed, name))
    except Exception as error:
        _failed.append(error)
        # Hydra would print a line of its own for an exception. A job of a sweep, maybe in another process, must raise
        # it.
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise


_failed: list[Exception] = []
_SWEEP, _HERE = "REPLICATION_SWEEP", ("joblib", "submitit_local")
"""The variable that tells jobs which process began the sweep; the launchers whose jobs must end with it."""


def run_experiment(composed: DictConfig) -> None:
    """Compute missing cells, then draw, decide and print. The tracking record is open from the beginning."""
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
    """The run of an experiment; its progress goes to the tracking record."""
    start = time.perf_counter()
    from replication.plots import draw
    from replication.study.claims import decide
    from replication.study.gather import gather
    from replication.study.guide import measured
    from replication.study.report import Section, markdown, text, words
    from replication.study.store import write_dataset, write_file

    def watch(cell: "Cell[Any]", done: int, total: int) -> None:
        with suppress(Exception):  # computing goes on; the same error is reported at the end
            if config.tracking.mode != "disabled" and (dataset := store.load(cell)) is not None:
                run.cell(cell.label, dataset, done, total, peak_memory())

    gc.freeze()  # imported objects stay: the garbage collector skips them, and workers need not copy them
    computed, failures, shared_peak = compute_missing(experiment, config, store, missing, watch)
    if failures:
        raise RunError("\n".join([*failures, "the other cells are stored; nothing was drawn"]))

    dataset = gather(experiment, config, store)
    outcomes = decide(experiment.claims_of(config.claims), dataset)
    try:
        figures, problem = draw(experiment.name, dataset, folder, measured(outcomes)), ""
    except Exception as error:  # the claims are decided even without figures
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
    """The folder for a config's figures and claims: its preset and a hash of all settings that can change numbers."""
    from replication.study.record import settings

    digest = hashlib.sha256(json.dumps(settings(config), sort_keys=True).encode()).hexdigest()[:8]
    draw = f"draw{config.draw}-" if config.draw else ""
    return root / "runs" / f"{config.preset.replace('/', '-')}-{draw}{digest}"


def remove_traces(words: list[str]) -> None:
    """Remove what Hydra writes of a sweep before it composes the jobs: a file of its settings, and empty folders."""
    with suppress(Exception):  # the error that ended the sweep is what has to be told
        named = [
            OverridesParser.create().parse_override(word) for word in words if word.lstrip("+").startswith("results=")
        ]
        results = Path(str(named[-1].value()) if named else "results")
        (results / ".hydra" / "multirun.yaml").unlink()
        for folder in (*sorted((results / ".hydra").glob("*/"), reverse=True), results / ".hydra", results):
            folder.rmdir()


def entry() -> None:
    """``main`` with Hydra's errors about a config as UserErrors. Without arguments it lists the experiments."""
    if len(sys.argv) == 1 or {"-h", "--help"} & set(sys.argv):
        print(listing() if len(sys.argv) == 1 else HELP)
        return
    # The jobs of a sweep run in processes of their own, which must find the modules of this folder.
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ[_SWEEP] = str(os.getpid())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints a traceback and exits; now it raises exceptions
    _failed.clear()
    sys.argv[1:] = checked(sys.argv[1:])
    try:
        main()
    except Exception as error:
        remove_traces(sys.argv[1:])
        raise _failed.pop() if _failed else composing(error) from None
    if _failed:
        raise _failed.pop()


if __name__ == "__main__":
    sys.exit(process.run(entry, "interrupted; what was finished is stored, and the same command goes on from there"))
