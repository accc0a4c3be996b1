"""A few numbers of the engine and of every reduced preset, kept in ``golden.json``: none of them changes unnoticed.

    make golden         write the file, after a change on purpose and of the version that goes with it
    make golden-check   compute them with three instruction sets, with one thread and with two, and compare

Every array is kept as its size, its root mean square and its projection on a fixed vector, which notices one entry or
two exchanged; up to two numbers are kept as they are. They are compared relative to the array's root mean square.

What is allowed is at most ten times what instruction sets (AVX-512, AVX2, SSE) and numbers of threads differ by, as
measured on one CPU, or 1e-8 in float64 and 1e-5 in float32 if that is more. Rounding is amplified by

- A ReLU at 0. Training amplifies rounding until one unit is on for one input with one kind of code and off with
  another, which changes the kernel by about 1/n. In float32 that happens wherever networks are wide or trained long: Θ
  differed by 8e-4 at n = 4000, up to 1e-2 at n = 500 and 3e-2 at n = 200 (where the flow took 14 steps with one kind of
  code and 15 with another), f by 2e-3 at n = 32. In float64 it is 10⁹ times as rare: most cells are computed in
  float64 here, whatever their dtype.
- A revealed direction that is small. Where the new part of a vector has relative size s, its direction is known to ε/s
  only, and later answers depend on it. Directions are revealed down to the tolerance: after 20 steps of gradient
  descent, f differed by 6e-13, 3e-11, 9e-9 in float64 with tolerances of 1e-3, 1e-4, 1e-6, and by 6e-6, 2e-4, 6e-3
  and 0.3 in float32 with tolerances of 1e-2, 1e-3, 1e-4 and 0, which is ε/tolerance to 40 times that. A flow takes few
  steps and reveals few such directions: with 1e-6, f differed by 9e-14 in float64 and by 1e-4 in float32.
  So the entries have tolerances of 1e-2 in float32 and 1e-4 in float64.
- A difference of numbers that nearly agree, or what is itself a rounding error.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from golden_numbers import N, Numbers, engine_version, groups, numbers
from numpy._core._multiarray_umath import __cpu_dispatch__

FILE = Path(__file__).with_suffix(".json")


ADVICE = (
    "If this was changed on purpose, raise the VERSION of the experiment, or ENGINE if the engine changed, and run "
    "`make golden`; if it was not, it is a bug."
)


# How it is compared ---------------------------------------------------------------------------------------------------

TRAINED_RELU = 5e-2
"""In float32, where a unit may switch; the flow's steps may then differ too."""
TOLERANCES: list[tuple[str, float, float]] = [
    ("ci/remark1/*/exact", 1e-8, 1e-13),  # rounding errors
    ("ci/remark1/*/start", 1e-8, 1e-13),
    ("ci/remark1/*/derivative", 1e-8, 1e-13),
    ("ci/remark1/*/first", 1e-8, 1e-14),
    ("ci/*/least_squares-relu-*/truncation", 1e-8, 1e-13),
    ("ci/kernel_gradient/*/dissipation", 4e-8, 0),  # a difference quotient over a short time: 5e-9
    ("ci/drift/kinked-*/kinked_left", 2e-3, 0),  # differences with ε = 3e-6: rounding over ε², 2e-4
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
    ("engine/relu/*float32*flow?/steps", 1e-5, 3),
    ("engine/relu/*float32*flow?/rank", 1e-5, 3 * N),
    ("engine/*float32-revealed-descent/[ft]*", 5e-5, 0),  # erf, tanh: 7e-6
    ("*float32*", 1e-5, 0),
    ("*", 1e-8, 0),
]
"""Pattern of group/entry/variable, relative and absolute tolerance; the first that matches."""


def tolerance(name: str) -> tuple[float, float]:
    return next((relative, absolute) for pattern, relative, absolute in TOLERANCES if fnmatchcase(name, pattern))


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
            place = "the file" if a is None else "what is computed now"
            yield math.inf, f"{where}: only in {place}; if the preset changed, run `make golden`"
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
    shortened = [float(f"{value:.{digits}g}") for value in values]
    return [int(value) if value == int(value) else value for value in shortened]


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
OWN = "this machine's own"
SETTINGS = {OWN: {}, "AVX2": AVX2, "plain": PLAIN}
CASES = [("plain", 2), ("AVX2", 1), (OWN, 2)]
"""The slowest first: instruction sets and numbers of threads."""


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
    """``check`` in processes of their own, as many at a time as there are cores.

    Each instruction set, with one thread or with two; this machine's own with one thread is what test_golden.py does.
    """

    def run(case: tuple[str, int]) -> tuple[str, bool]:
        setting, threads = case
        start = time.perf_counter()
        # Threads that wait for work would keep the cores busy.
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"} | SETTINGS[setting]
        command = [sys.executable, __file__, "--check", "--threads", str(threads), *names]
        done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE)
        return f"{setting}, threads={threads}, {time.perf_counter() - start:.0f} s: {done.stdout}", done.returncode != 0

    failed = False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for line, differs in pool.map(run, CASES):
            failed |= differs
            print(line, end="", flush=True)
    return int(failed)


def write() -> int:
    """Compute everything and write the file; refuses numbers that changed although no version did."""
    content = read()
    new: dict[str, Any] = {"versions": {"engine": engine_version()}, "numbers": {}}
    refused = []
    for group, part in groups().items():
        versions, entries = part()
        new["versions"] |= versions
        kept, changed = updated(content, group, versions | {"engine": engine_version()}, numbers(entries))
        new["numbers"][group] = kept
        refused += changed
        before = content["numbers"].get(group, entries).keys()
        for word, names in (("gone", before - entries.keys()), ("new", entries.keys() - before)):
            print("".join(f"{group} {entry}: {word}\n" for entry in sorted(names)), end="")
    if refused:
        print("\n".join([*refused, f"{FILE.name} is left as it was. {ADVICE}"]))
        return 1
    FILE.write_text(text(new), encoding="utf-8")
    return 0


def main() -> int:
    from process import set_threads

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="compute here and compare")
    action.add_argument("--everywhere", action="store_true", help="the same with three instruction sets")
    action.add_argument("--write", action="store_true", help="write the file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("groups", nargs="*", help="part of the numbers: a preset, engine/relu, engine/erf, engine/tanh")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    if arguments.write:
        return write()
    names = arguments.groups or list(groups())
    return (check if arguments.check else check_everywhere)(names)


if __name__ == "__main__":
    sys.exit(main())
