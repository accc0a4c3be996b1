"""Timing of alternatives side by side, and the peak memory of a process."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch

Row = dict[str, Any]
Work = Callable[[], object]

SCRIPT = Path(__file__).parents[1] / "benchmark.py"
NOTHING = "–"
"""The text of a cell without a number."""


def race(works: Mapping[str, Work], repeats: int, prepare: Work = lambda: None) -> dict[str, float]:
    """Median seconds of each work. They take turns in each repeat; ``prepare`` runs before each and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            prepare()
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: median(seconds[1:]) for name, seconds in times.items()}


@cache
def peak_of(task: str, n: int, n_inputs: int) -> float:
    """The peak memory, in bytes, of a child process that does the task."""
    options = ["--threads", str(torch.get_num_threads()), "--peak", task, str(n), str(n_inputs)]
    return float(subprocess.run([sys.executable, str(SCRIPT), *options], check=True, capture_output=True).stdout)


def peak_so_far() -> float:
    """The peak memory of this process in bytes."""
    try:  # Linux's ru_maxrss outlives exec: a child's is at least its parent's
        return 1024 * float(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
