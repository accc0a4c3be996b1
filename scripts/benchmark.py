"""Speed and memory, side by side with alternatives in one run: ``python scripts/benchmark.py [NAME ...]``.

    products   several ways to compute the three products with an n × n matrix, and the way of DenseWeight
    step       a gradient step of [2, n, n, n, 1] against the best plain product; its peak memory
    kernel     the finite NTK from activations and derivatives, against contracted Jacobians of torch.func
    limit      Θ_∞ of ReLU and erf, L = 4, in float64 and float32, of N inputs and between N and 512, against jitted
               neural-tangents, if it can be imported (the variable NTK_PEER may name another Python for it)
    precision  the errors of f and Θ at t = 200 against seconds and products, by gradient flow of both orders, gradient
               descent and scipy's solvers (figures/work_precision.png)
    ensemble   many narrow networks as one tensor program, against one after another
    fig3       the paper's 4000 steps on 512 digits, extrapolated from a few of them, against gradient flow of both
               orders to t = 4000, with the error of each
    revealed   the NTK at initialization with revealed and with dense weights, against the width (figures/width.png)
    help       scripts/run.py --help

How to read the tables: networks are float32. Alternatives take turns, so that a change in the speed of the machine hits
all of them. Times are medians over the repeats, after one turn that is not counted; ``precision`` takes one run of each
solver. A ratio above 1 means that ours is faster; in ``products`` and ``step`` the ratio is our rate over the best,
at most 1. Memory is the peak of a child process minus the peak of one that does the same at a tiny size. The last line
of a table gives its requirement and whether the worst row meets it. Use a quiet machine: noise changes ratios a little
and rates a lot.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from benchmarks.figure_1 import figure_1, train
from benchmarks.harness import NOTHING, Row, Work, peak_so_far, race
from benchmarks.kernels import contracted_jacobians, kernel, limit_kernel
from benchmarks.precision import precision
from benchmarks.products import products, step
from benchmarks.solvers import ensemble, fig3
from benchmarks.width import initial_kernel, revealed

from replication.revealed import revealing
from replication.tangent import tangent_kernel
from replication.training import GradientDescent
from replication.weights import DenseWeight


class Benchmark(NamedTuple):
    """A table: its rows for a width n, a number N of inputs and repeats; its own of each; what it requires.

    requirements: (column, relation, limit).
    """

    rows: Callable[[int, int, int], Iterator[Row]]
    widths: Sequence[int] = ()
    inputs: Sequence[int] = ()
    repeats: int = 5
    requirements: Sequence[tuple[str, str, float]] = ()


RUN = Path(__file__).with_name("run.py")


def help_time(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """python scripts/run.py --help"""
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    times = race({"help": partial(run, [sys.executable, str(RUN), "--help"])}, repeats)
    imports = run([sys.executable, "-X", "importtime", str(RUN), "--help"]).stderr
    torch_imported = any(line.rpartition("|")[2].strip() == "torch" for line in imports.splitlines())
    yield {"s": times["help"], "imports torch": "yes" if torch_imported else "no"}


ONE = [("exponent(s)", "≥", 0.9), ("exponent(s)", "≤", 1.1), ("exponent(MiB)", "≥", 0.9), ("exponent(MiB)", "≤", 1.1)]
"""Time and memory grow like n, to the power of 1 ± 0.1."""
DECADES = [100, 320, 1000, 3200, 10_000, 32_000, 100_000, 320_000, 1_000_000]

BENCHMARKS = {
    "products": Benchmark(products, [10000], [64, 128]),
    "step": Benchmark(step, [10000], [128], requirements=[("ratio", "≥", 0.7), ("a", "≤", 1.15)]),
    "kernel": Benchmark(kernel, [500], [128], requirements=[("ratio", "≥", 20)]),
    "limit": Benchmark(limit_kernel, [0], [512, 2048], requirements=[("ratio", "≥", 1.0)]),
    "precision": Benchmark(precision, [300, 1000, 10000], [128], 1),
    "ensemble": Benchmark(ensemble, [16, 64, 250], [4, 64]),
    "fig3": Benchmark(fig3, [1000], [512], 3),
    "revealed": Benchmark(revealed, DECADES, [64], 2, ONE),
    "help": Benchmark(help_time, requirements=[("s", "≤", 1.5)]),
}


def table(name: str, widths: Sequence[int] | None, inputs: Sequence[int] | None, repeats: int | None) -> dict[str, Any]:
    """Title, rows and requirements of a benchmark, each at its worst row; None: the benchmark's own."""
    benchmark = BENCHMARKS[name]
    sizes = product(widths or benchmark.widths, inputs or benchmark.inputs) if benchmark.widths else [(0, 0)]
    rows: list[Row] = [
        ({"n": n} if n else {}) | ({"N": size} if size else {}) | row
        for n, size in sizes
        for row in benchmark.rows(n, size, repeats or benchmark.repeats)
    ]
    decided = []
    for column, relation, limit in benchmark.requirements:
        values = [row[column] for row in rows if row[column] != NOTHING]
        if not values:  # this machine lacks the alternative
            continue
        measured = (min if relation == "≥" else max)(values)
        met = measured >= limit if relation == "≥" else measured <= limit
        decided.append({"requirement": f"{column} {relation} {limit:.2f}", "met": met, "measured": measured})
    return {"title": benchmark.rows.__doc__, "rows": rows, "requirements": decided}


def text(table: dict[str, Any]) -> str:
    """The table as aligned text."""
    rows = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in table["rows"]]
    widths = [max(map(len, column)) for column in zip(table["rows"][0], *rows, strict=True)]
    lines = ["  ".join(map(str.rjust, cells, widths)) for cells in (table["rows"][0], *rows)]
    for wanted in table["requirements"]:
        verdict = "met" if wanted["met"] else "not met"
        lines.append(f"requirement {wanted['requirement']}: {verdict} (measured {wanted['measured']:.3g})")
    return "\n".join([table["title"], *lines])


def machine() -> Row:
    """The machine and the versions on which the numbers depend."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    threads = torch.get_num_threads()
    return {"cpu": cpu, "cores": os.cpu_count() or 1, "threads": threads, "torch": torch.__version__, "GiB": memory}


def known(path: Path, described: Row) -> dict[str, Any]:
    """The tables of a file of this machine; none where there is no such file."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content["tables"] if content.get("machine") == described else {}


def peak_of_task(task: str, n: int, n_inputs: int) -> float:
    """The peak memory of this process, in bytes, after the task."""
    if task in ("revealed", "dense"):
        initial_kernel(n, n_inputs, revealing() if task == "revealed" else DenseWeight.draw)
    else:
        network, x, cost = figure_1(n, n_inputs)
        tasks: dict[str, Work] = {
            "step": partial(train, GradientDescent(1e-3, 2), network, x, cost),
            "kernel": partial(tangent_kernel, network, x),
            "jacobians": partial(contracted_jacobians, network, x),
        }
        tasks[task]()
    return peak_so_far()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, "all"], default="all", metavar="NAME")
    parser.add_argument("--n", type=int, nargs="+", help="widths n (default: each benchmark has its own)")
    parser.add_argument("--inputs", type=int, nargs="+", help="numbers N of inputs (default: likewise)")
    parser.add_argument("--repeats", type=int, help="number of repeats for a median (default: likewise)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch (default: all cores)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the tables and the machine to this file; keep its others"
    )
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak_of_task(options.peak[0], *map(int, options.peak[1:])))
        return
    described = machine()
    print(", ".join(f"{key} {value:.1f}" if key == "GiB" else f"{key} {value}" for key, value in described.items()))
    tables = known(options.json, described) if options.json else {}
    for name in BENCHMARKS if "all" in options.names else options.names:
        tables[name] = table(name, options.n, options.inputs, options.repeats)
        print(f"\n{name}: {text(tables[name])}", flush=True)
        if options.json:  # after each: an interrupted run keeps what it has
            content = {"machine": described, "tables": {name: tables[name] for name in BENCHMARKS if name in tables}}
            options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import process  # here, because tests import this script from another folder

    sys.exit(process.run(main))
