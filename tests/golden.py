"""A few numbers of the engine and of every reduced preset, kept in ``golden.json``: none of them changes unnoticed.

    make golden         write the file, after a change on purpose and of the version that goes with it
    make golden-check   compute them with three instruction sets, with one thread and with two, and compare

Every array is kept as its size, its root mean square and its projection on a fixed vector, which notices one entry or
two exchanged; up to two numbers are kept as they are. They are compared relative to the array's root mean square.

What is allowed is at most ten times what instruction sets (AVX-512, AVX2, SSE) and numbers of threads differ by, measured
on one CPU, or a round number below that: 1e-8 in float64, 1e-5 in float32. It is more where rounding is amplified:

- A ReLU at 0. Training amplifies rounding until one unit is on for one input with one kind of code and off with
  another. That changes the kernel by about 1/n, and no solver can help it; in float32 it happens in a wide or long
  enough training: Θ then differed by 8e-4 at n = 4000, by up to 1e-2 at n = 500, f by 2e-3 at n = 32. In float64 it
  is 10⁹ times as rare. So most cells are computed in float64 here, whatever their dtype.
- A revealed direction that is small. Of a vector whose new part has relative size s, the new direction is known to ε/s,
  and directions down to the tolerance are revealed. Later answers depend on it: after 20 steps of gradient descent, with
  30 to 80 directions, f differed by 4e-12, 3e-11, 9e-9 in float64 with tolerances of 1e-3, 1e-4, 1e-6, and by 6e-6,
  2e-4, 6e-3 and 0.3 in float32 with tolerances of 1e-2, 1e-3, 1e-4 and 0: about 100 to 1000 ε/tolerance. The flow,
  which takes few steps, reveals few such directions.
- What is itself a rounding error, or a difference of numbers that nearly agree.
"""

import argparse
import dataclasses
import itertools
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core._multiarray_umath import __cpu_dispatch__

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

FILE = Path(__file__).with_suffix(".json")

Arrays = dict[str, np.ndarray]
Numbers = dict[str, dict[str, list[float]]]
"""By entry and variable: the values if they are one or two, else [size, root mean square, projection]."""

ADVICE = (
    "If this was changed on purpose, raise the VERSION of the experiment, or ENGINE if the engine changed, and run "
    "`make golden`; if it was not, it is a bug."
)


# The part that knows the experiments' interface -----------------------------------------------------------------------


def presets() -> list[str]:
    """The reduced presets."""
    from compose import presets

    return [name for name in presets() if name.startswith("ci/")]


def cells_of(preset_name: str) -> tuple[str, int, list[tuple[str, Any, Callable[[Any], Arrays]]]]:
    """An experiment's name, its version and, narrow ones first, its cells: each with its label and what computes it."""
    from compose import preset, typed

    module, config = typed(preset(preset_name))

    def compute(cell: Any) -> Arrays:
        return {str(name): variable.values for name, variable in module.compute(cell).data_vars.items()}

    return module.NAME, module.VERSION, [(cell.label, cell, compute) for cell in module.cells(config)]


def engine_version() -> int:
    """The version of the engine."""
    from replication.engine import ENGINE

    return ENGINE


# What is computed -----------------------------------------------------------------------------------------------------

_SEEDS = re.compile(r"-?seed[-\d]+$")
_WIDTH = re.compile(r"(^|-)[nP]\d+(-\d+)*(?=-|$)")
AS_IT_IS = {"ci/fig1/main-n4000"}
"""So large that float64 would take too long."""


def of_preset(name: str) -> tuple[dict[str, int], dict[str, Callable[[], Arrays]]]:
    """Of each kind of cell: two networks of the narrowest as they are, one of the widest in float64.

    In float64, because a trained wide network of ReLUs cannot be reproduced in float32: see ``TOLERANCES``.
    """
    experiment, version, cells = cells_of(name)
    kinds: dict[str, list[tuple[str, Any, Callable[[Any], Arrays]]]] = {}
    for label, cell, compute in cells:
        label = _SEEDS.sub("", label) or "cell"
        kinds.setdefault(_WIDTH.sub("", label), []).append((label, cell, compute))
    entries: dict[str, Callable[[], Arrays]] = {}
    for kind in kinds.values():
        (narrow, first, compute), (wide, last, _) = kind[0], kind[-1]
        double = last if f"{name}/{wide}" in AS_IT_IS else _in_float64(last)
        if wide != narrow or double == last:
            entries[f"{narrow}-{_dtype(first)}"] = _trimmed(compute, first, 2)
        if wide != narrow or double != last:
            entries[f"{wide}-{_dtype(double)}"] = _trimmed(compute, double, 1)
    return {experiment: version}, entries


def _trimmed(compute: Callable[[Any], Arrays], cell: Any, networks: int) -> Callable[[], Arrays]:
    return lambda: compute(dataclasses.replace(cell, seeds=cell.seeds[:networks]))


def _dtype(cell: Any) -> str:
    return "float64" if _in_float64(cell) == cell else "float32"


def _in_float64(cell: Any) -> Any:
    """A cell whose networks, in it or in what it is made of, have dtype float64."""
    changed = {}
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name)
        if field.name == "dtype":
            changed["dtype"] = "float64"
        elif dataclasses.is_dataclass(value):
            changed[field.name] = _in_float64(value)
    return dataclasses.replace(cell, **changed)


# More coordinates than ``revealed.SMALL``, so that the first matrix is revealed too, and all its directions are.
N_0, N, PROBES = 20, 4, 2
WIDTHS = {"dense": 100, "deferred": 200, "revealed": 1000}


def of_engine(nonlinearity: str) -> tuple[dict[str, int], dict[str, Callable[[], Arrays]]]:
    """Θ and f on the data and off it, the rank and the number of steps.

    For each depth, dtype and way to hold the weights, before training and after each solver.
    """
    cases = itertools.product((2, 3, 4, 5), ("float32", "float64"), WIDTHS, ("initial", "flow1", "flow2", "descent"))
    return {}, {"L{}-{}-{}-{}".format(*case): _engine(nonlinearity, *case) for case in cases}


def _engine(nonlinearity: str, depth: int, dtype: str, weights: str, stage: str) -> Callable[[], Arrays]:
    from replication.costs import LeastSquares
    from replication.network import Network
    from replication.randomness import generator
    from replication.revealed import rank, revealing
    from replication.tangent import tangent_kernel
    from replication.training import GradientDescent, GradientFlow
    from replication.weights import DeferredWeight, DenseWeight

    revealed = revealing(1e-2 if dtype == "float32" else 1e-4)
    draws = {"dense": DenseWeight.draw, "deferred": DeferredWeight.draw, "revealed": revealed}
    solvers = {
        "flow1": GradientFlow(8.0, 1e-2, first_step=8.0),  # a first step that is rejected
        "flow2": GradientFlow(8.0, 1e-2, first_step=8.0, order=2),
        "descent": GradientDescent(0.1, 20),
    }

    def compute() -> Arrays:
        network = Network.init(
            [N_0, *[WIDTHS[weights]] * (depth - 1), 1],
            generator=generator("golden", nonlinearity, depth),
            nonlinearity=nonlinearity,
            dtype=getattr(torch, dtype),
            weight=draws[weights],
        )
        points = torch.arange(1, N + PROBES + 1).outer(torch.arange(1, N_0 + 1)).double().cos()
        x, targets = points[:N], torch.arange(N).double().mul(3).cos()[:, None]
        arrays = {}
        if stage in solvers:
            states = solvers[stage].states(network, x, LeastSquares(targets))
            arrays["steps"] = np.array(sum(1 for _ in states) - 1)
        arrays["theta"] = tangent_kernel(network, points).numpy()
        arrays["f"] = network(points).double().numpy()
        if weights == "revealed":
            arrays["rank"] = np.array(rank(network.weights))
        return arrays

    return compute


def groups() -> dict[str, Callable[[], tuple[dict[str, int], dict[str, Callable[[], Arrays]]]]]:
    """The parts of the file by name; each gives the versions of its experiment and what computes its entries."""

    def part(function: Callable[[str], Any], name: str) -> Callable[[], Any]:
        return lambda: function(name)

    parts = {f"engine/{name}": part(of_engine, name) for name in ("relu", "erf", "tanh")}
    return parts | {name: part(of_preset, name) for name in presets()}


# How it is compared ---------------------------------------------------------------------------------------------------

TRAINED_RELU = 2e-2
"""In float32, where a unit may switch."""
TOLERANCES: list[tuple[str, float, float]] = [
    ("ci/remark1/*/exact", 1e-8, 1e-13),  # rounding errors
    ("ci/remark1/*/start", 1e-8, 1e-13),
    ("ci/remark1/*/derivative", 1e-8, 1e-13),
    ("ci/remark1/*/first", 1e-8, 1e-14),
    ("ci/*/least_squares-relu-*/truncation", 1e-8, 1e-13),
    ("ci/kernel_gradient/*/dissipation", 4e-8, 0),  # a difference quotient over a short time: 5e-9
    ("ci/fig2/estimate-n32-float32/*", 3e-4, 0),  # 81 inputs reveal all 32 directions, small ones too: 4e-5
    ("ci/fig1/main-*float32/theta", TRAINED_RELU, 0),
    ("ci/fig1/m*-float32/cost", TRAINED_RELU, 0),
    ("ci/fig1/mean_field-*float32/theta", TRAINED_RELU, 0),
    ("ci/fig2/main-*float32/*", TRAINED_RELU, 0),
    ("ci/fig3/main-*float32/*", TRAINED_RELU, 0),
    ("ci/fig3/rates-*float32/*", TRAINED_RELU, 0),
    ("ci/least_squares/*float32/*", TRAINED_RELU, 0),
    ("engine/relu/*float32*flow?/[ft]*", TRAINED_RELU, 0),
    ("engine/relu/*float32*descent/[ft]*", TRAINED_RELU, 0),
    ("engine/*float32-revealed-descent/[ft]*", 5e-5, 0),  # erf, tanh: 7e-6
    ("*float32*", 1e-5, 0),
    ("*", 1e-8, 0),
]
"""Pattern of group/entry/variable, relative and absolute tolerance; the first that matches."""


def tolerance(name: str) -> tuple[float, float]:
    return next((relative, absolute) for pattern, relative, absolute in TOLERANCES if fnmatchcase(name, pattern))


def summary(values: np.ndarray) -> list[float]:
    """One or two values as they are; of more [size, root mean square, projection], of those that are finite."""
    flat = np.asarray(values, dtype=float).ravel()
    flat = flat[np.isfinite(flat)]
    if flat.size <= 2:
        return flat.tolist()
    vector = np.cos(1.0 + np.arange(flat.size))
    return [flat.size, math.sqrt(np.square(flat).mean()), float(flat @ vector) / math.sqrt(flat.size)]


def numbers(entries: dict[str, Callable[[], Arrays]]) -> Numbers:
    """The numbers of every entry, computed now."""
    return {
        entry: {name: summary(array) for name, array in compute().items() if array.dtype.kind in "biuf"}
        for entry, compute in entries.items()
    }


def deviation(ours: list[float], theirs: list[float], relative: float, absolute: float) -> float:
    """The largest difference in units of what is allowed."""
    summarized = len(ours) == 3
    if len(ours) != len(theirs) or (summarized and ours[0] != theirs[0]):
        return math.inf
    a, b = (np.array(side[1:] if summarized else side) for side in (ours, theirs))
    scale = max(ours[1], theirs[1]) if summarized else math.hypot(*a, *b) / math.sqrt(2 * max(a.size, 1))
    return float(np.abs(a - b).max(initial=0.0)) / max(relative * scale, absolute, 1e-300)


def deviations(group: str, ours: Numbers, theirs: Numbers) -> Iterator[tuple[float, str]]:
    """For each variable that either has, the deviation and a line that says what differs."""
    for entry, name in sorted({(e, n) for side in (ours, theirs) for e, variables in side.items() for n in variables}):
        a, b = (side.get(entry, {}).get(name) for side in (ours, theirs))
        relative, absolute = tolerance(f"{group}/{entry}/{name}")
        where = f"{group} {entry} {name}"
        if a is None or b is None:
            yield math.inf, f"{where}: only in {'the file' if a is None else 'what is computed now'}"
        else:
            size = deviation(a, b, relative, absolute)
            allowed = f"{relative:g} of its size" + (f" or {absolute:g}" if absolute else "")
            yield size, f"{where}: {_text(a)} now, {_text(b)} in the file; {size:.3g} × what is allowed, {allowed}"


def _text(values: list[float]) -> str:
    return "[" + ", ".join(f"{value:.10g}" for value in values) + "]"


# The file -------------------------------------------------------------------------------------------------------------


def read() -> dict[str, Any]:
    """The file: {"versions": {"engine": 1, "fig1": 1, …}, "numbers": {group: numbers}}."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"versions": {}, "numbers": {}}


def text(content: dict[str, Any]) -> str:
    """The file's text: sorted, an entry a line, with two digits more than are compared."""

    def block(name: str, lines: list[str]) -> str:
        return f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}"

    def line(group: str, entry: str, variables: dict[str, list[float]]) -> str:
        rows = {name: _rounded(f"{group}/{entry}/{name}", values) for name, values in sorted(variables.items())}
        return f"{json.dumps(entry)}: {json.dumps(rows)}"

    versions = [f"{json.dumps(name)}: {version}" for name, version in sorted(content["versions"].items())]
    blocks = [
        block(group, [line(group, entry, variables) for entry, variables in sorted(entries.items())])
        for group, entries in sorted(content["numbers"].items())
    ]
    return "{\n" + block("versions", versions) + ",\n" + block("numbers", blocks) + "\n}\n"


def _rounded(name: str, values: list[float]) -> list[float]:
    digits = 2 - math.floor(math.log10(tolerance(name)[0]))
    return [int(value) if value == int(value) else float(f"{value:.{digits}g}") for value in values]


def stale(content: dict[str, Any], versions: dict[str, int]) -> list[str]:
    """A line for each version that differs between code and file."""
    return [
        f"version of {name}: {version} in the code, {content['versions'].get(name)} in {FILE.name}: run `make golden`"
        for name, version in versions.items()
        if content["versions"].get(name) != version
    ]


def updated(content: dict[str, Any], group: str, versions: dict[str, int], ours: Numbers) -> tuple[Numbers, list[str]]:
    """The numbers to keep of a group, and what must not change because no version moved (then all stay as they are).

    Where no version moved, what has not changed stays to the last digit.
    """
    theirs: Numbers = content["numbers"].get(group, {})
    if stale(content, versions):
        return ours, []
    kept = {entry: {n: v for n, v in theirs[entry].items() if n in ours[entry]} for entry in ours if entry in theirs}
    changed = [
        line for size, line in deviations(group, {e: {n: ours[e][n] for n in kept[e]} for e in kept}, kept) if size > 1
    ]
    if changed:
        return theirs, changed
    return {entry: ours[entry] | kept.get(entry, {}) for entry in ours}, []


# The command ----------------------------------------------------------------------------------------------------------

PLAIN = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "MKL_CBWR": "COMPATIBLE",  # the former is ignored on CPUs of other makers than Intel
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
SETTINGS = {"this machine's own": {}, "AVX2": AVX2, "plain": PLAIN}


def check(names: Iterable[str]) -> int:
    """Compare the groups with the file; prints what differs, and the number nearest to its tolerance. 1 if any does."""
    content, worst, count = read(), (0.0, ""), 0
    parts, failures = groups(), []
    for group in names:
        versions, entries = parts[group]()
        failures += stale(content, versions | {"engine": engine_version()})
        for size, line in deviations(group, numbers(entries), content["numbers"].get(group, {})):
            count += 1
            worst = max(worst, (size, line))
            if size > 1:
                failures.append(line)
    print("\n".join(failures) if failures else f"{count} agree; nearest to what is allowed: {worst[1]}")
    return 1 if failures else 0


def check_everywhere(names: Iterable[str]) -> int:
    """``check`` in processes of their own: each instruction set, with one thread and with two."""
    failed = False
    for (setting, variables), threads in itertools.product(SETTINGS.items(), (1, 2)):
        start = time.perf_counter()
        # Threads that wait for work would keep the cores busy.
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"} | variables
        command = [sys.executable, __file__, "--check", "--threads", str(threads), *names]
        done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE)
        failed |= done.returncode != 0
        print(f"{setting}, threads={threads}, {time.perf_counter() - start:.0f} s: {done.stdout}", end="", flush=True)
    return int(failed)


def write(names: Iterable[str]) -> int:
    """Compute the groups and write the file; refuses numbers that changed although no version did."""
    content = read()
    new = {"versions": {"engine": engine_version()}, "numbers": {}}
    parts, refused = groups(), []
    for group in parts:
        versions, entries = parts[group]()
        new["versions"] |= versions
        if group in names:
            ours, lines = updated(content, group, versions | {"engine": engine_version()}, numbers(entries))
            new["numbers"][group] = ours
            refused += lines
    if refused:
        print("\n".join([*refused, f"{FILE.name} is left as it was. {ADVICE}"]))
        return 1
    FILE.write_text(text(new), encoding="utf-8")
    from replication.engine import ENGINE

    return ENGINE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="compute here and compare")
    action.add_argument("--everywhere", action="store_true", help="the same with each instruction set and 1, 2 threads")
    action.add_argument("--write", action="store_true", help="write the file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("groups", nargs="*", help="part of the numbers: a preset, engine/relu, engine/erf, engine/tanh")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names = arguments.groups or list(groups())
    if arguments.write:
        return write(list(groups()))
    return (check if arguments.check else check_everywhere)(names)


if __name__ == "__main__":
    sys.exit(main())
