"""Compute the cells of a config that are not stored yet, in worker processes or one after the other."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

import process
from process import RunError, UserError

if TYPE_CHECKING:
    import xarray as xr

    from replication.study.experiment import Cell, Experiment
    from replication.study.settings import BaseConfig
    from replication.study.store import Store

_LAYOUT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
_WAIT = 0.5  # seconds between two looks at the cells of another run
_ALONE = 0.4
"""A cell with more than this part of one worker's share of the work is computed alone, with all threads and memory."""
_LARGE = 2**30
"""So is a cell whose networks take more bytes, each."""


Watch = Callable[["Cell[Any]", int, int], None]
"""Called with each finished cell, the number of finished cells and their total."""


def missing_cells(experiment: "Experiment[Any, Any]", config: "BaseConfig", store: "Store") -> "list[Cell[Any]]":
    """The cells of a config that are not stored yet. Raises UserError if networks of a cell do not fit into memory."""
    missing = store.missing(experiment.cells(config))
    refuse_too_wide(experiment, missing, config.device)
    return missing


def compute_missing(
    experiment: "Experiment[Any, Any]",
    config: "BaseConfig",
    store: "Store",
    missing: "list[Cell[Any]] | None" = None,
    watch: Watch = lambda cell, done, total: None,
) -> tuple[int, list[str], float]:
    """Compute and store missing cells. Returns their number, a line for each that failed, and the peak memory in GiB.

    Cells that another run on the same store is computing are left to it, and awaited at the end. If the config has
    several workers, they compute cells side by side. Then the largest cells follow one after the other, with all
    threads. The peak memory is that of the time with workers. Raises RunError if a worker process is killed.
    """
    from tqdm import tqdm

    missing = missing_cells(experiment, config, store) if missing is None else missing
    total = len(experiment.cells(config))
    stored = total - len(missing)
    # A process with a GPU cannot be forked, and one process can use all of the GPU.
    together = config.device.startswith("cpu") and process.semaphores()
    sizes = [least_nbytes(experiment, cell) for cell in missing]
    most = (config.workers or sensible_workers(sizes, config.threads)) if together else 1
    shared, alone = _divided(missing, sizes, most)
    computed, failures, peak = 0, [], 0.0
    elsewhere: list[Cell[Any]] = []

    def settle(cell: "Cell[Any]", result: Callable[[], bool | None]) -> None:
        nonlocal computed
        try:
            outcome = result()
        except RunError as error:
            failures.append(str(error))
            return
        if outcome is None:
            elsewhere.append(cell)
        else:
            computed += outcome
            watch(cell, stored + computed, total)

    hidden = True if config.quiet else None  # None: hidden unless the output is a terminal
    work = sum(cell.work for cell in missing)
    with tqdm(total=work, desc=experiment.name, bar_format=_LAYOUT, disable=hidden) as bar:

        def show(position: int) -> None:
            bar.set_postfix_str(f" cell {stored + position}/{total}")

        task = experiment.name, config.device, store
        if shared:
            workers = min(most, len(shared))
            with worker_processes(workers) as pool:
                futures = {pool.submit(compute, cell, *task): cell for cell in shared}
                for i, future in enumerate(as_completed(futures), start=1):
                    settle(futures[future], future.result)
                    bar.update(futures[future].work)
                    show(i)
            peak = peak_memory(workers)
        for i, cell in enumerate(alone, start=len(shared) + 1):
            show(i)
            done = 0.0
            with tqdm(total=1.0, desc=f"  {cell.label}", bar_format=_LAYOUT, leave=False, disable=hidden) as inner:

                def progress(fraction: float, cell: Any = cell, inner: Any = inner) -> None:
                    nonlocal done
                    inner.update(fraction - done)
                    bar.update((fraction - done) * cell.work)
                    done = fraction

                settle(cell, lambda: compute(cell, *task, progress))  # noqa: B023
                progress(1.0)
        while elsewhere:  # another run computes the last cells; if it stops, they are ours
            bar.set_postfix_str(f" {len(elsewhere)} cells in another run")
            time.sleep(_WAIT)
            waiting, elsewhere = elsewhere, []
            for cell in waiting:
                settle(cell, lambda: compute(cell, *task))  # noqa: B023
    return computed, failures, peak


def least_nbytes(experiment: "Experiment[Any, Any]", cell: "Cell[Any]") -> int:
    """The least memory, in bytes, of a network of a cell."""
    from replication.study.experiment import width_of

    return experiment.least_nbytes(cell, width_of(cell.setting))


def sensible_workers(sizes: Sequence[int], threads: int | None) -> int:
    """One for each thread, but not more than fit into memory with four times the largest network and 1 GiB each.

    sizes: of a network of each cell, in bytes; those above ``_LARGE`` are computed alone.
    """
    from replication.study.machine import cores, free_memory

    largest = max((size for size in sizes if size <= _LARGE), default=0)
    return max(1, min(threads or cores(), free_memory("cpu") // (4 * largest + 2**30)))


def refuse_too_wide(experiment: "Experiment[Any, Any]", cells: "list[Cell[Any]]", device: str) -> None:
    """Raise UserError, with the first cell whose networks do not fit and the largest width that does."""
    from replication.study.experiment import width_of
    from replication.study.machine import require_memory

    for cell in cells:
        if width := width_of(cell.setting):
            try:
                require_memory(width, lambda n, cell=cell: experiment.least_nbytes(cell, n), device)  # type: ignore[misc]
            except MemoryError as error:
                raise UserError(f"{cell.label}: {error}") from None


def computed(experiment: "Experiment[Any, Any]", config: "BaseConfig") -> "xr.Dataset":
    """The dataset of a config; missing cells are computed. Raises RunError if any of them fails."""
    from replication.study.gather import gather
    from replication.study.store import Store

    store = Store(config.results)
    _, failures, _ = compute_missing(experiment, config, store)
    if failures:
        raise RunError("\n".join(failures))
    return gather(experiment, config, store)


def _divided(cells: "list[Cell[Any]]", sizes: Sequence[int], workers: int) -> "tuple[list[Cell[Any]], list[Cell[Any]]]":
    """The cells to share among workers, and the cells to compute alone, which are all if sharing is useless."""
    limit = _ALONE * sum(cell.work for cell in cells) / workers
    shared: list[Cell[Any]] = []
    alone: list[Cell[Any]] = []
    for cell, size in zip(cells, sizes, strict=True):
        (shared if cell.work <= limit and size <= _LARGE else alone).append(cell)
    return (shared, alone) if workers > 1 and len(shared) > 1 else ([], cells)


def peak_memory(workers: int = 0) -> float:
    """Upper bound on the peak memory, in GiB, of this process and its workers: shared memory counts for each one."""
    import resource

    own, largest = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + workers * largest) / (2**30 if sys.platform == "darwin" else 2**20)


def compute(
    cell: "Cell[Any]",
    experiment: str,
    device: str,
    store: "Store",
    progress: Callable[[float], None] = lambda fraction: None,
) -> bool | None:
    """Compute and store a cell: True. False if another run has stored it meanwhile, None if one is computing it now.

    Raises RunError, one line with the name of the cell, for any error.
    """
    from replication.experiments import load
    from replication.study.provenance import provenance
    from replication.training import DivergenceError

    began = time.perf_counter()
    try:
        with store.lease(cell) as ours:
            if not ours:
                return None
            if not store.missing([cell]):
                return False
            dataset = load(experiment).compute(cell, device, progress)
            wall_time = time.perf_counter() - began
            store.save(cell, dataset, provenance(device=device, wall_time=wall_time))
    except DivergenceError as error:
        raise RunError(str(error)) from None
    except Exception as error:  # after any error the other cells go on
        raise RunError(f"{cell.label}: {process.reason(error)}") from None
    return True


@contextmanager
def worker_processes(count: int, context: BaseContext | None = None) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, which end when this process ends for any reason; context: how they start, if not as usual."""
    # A forked process starts at once, with everything imported. On Linux this is safe for a child that uses one thread
    # only. Elsewhere processes start from nothing, which takes seconds.
    own = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(count, context or own, _begin_worker, (os.getpid(),)) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise RunError("a worker was killed, maybe for lack of memory: try fewer workers") from None
        except BaseException:
            # Do not wait for unfinished cells: the store holds whole cells only.
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _begin_worker(parent: int) -> None:
    process.on_signal(signal.SIG_DFL)  # a worker ends silently; the parent prints the message
    process.set_threads(1)
    process.end_with(parent)
