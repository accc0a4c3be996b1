"""What is accepted runs, whatever its size: each experiment with one of everything, and with values that are drawn.

It ends with its claims, with a line for each cell that failed, or with one line before anything is computed.
"""

import random
import re
from pathlib import Path

import pytest
from scripts_fixtures import call, files, script
from test_fuzz import keys
from tiny_fixtures import OVERRIDES

COMPOSE, RUN = script("compose"), script("run")
RANK_1 = "Π is not positive, or has only 1 positive eigenvalues above rounding"

DEGENERATE = {
    "one of everything in fig1": ("fig1", ["widths=[1]", "seeds=[0]", "training.n_samples=1"], ""),
    "a cost of almost nothing": ("fig1", ["training.loss_factor=1e-12"], ""),
    "one network of width 1 in fig2": ("fig2", ["widths=[1]", "seeds=[1]"], ""),
    "two angles": ("fig2", ["data={angles: [0, 1], targets: [0, 1]}"], ""),
    "a deep network in fig3": ("fig3", ["network.depth=12"], "the kernel is not positive"),
    "width 1 in fig3": ("fig3", ["widths=[1,64]"], RANK_1),
    "one network of width 1 in theorem1": ("theorem1", ["main={widths: [1], seeds: [1]}"], ""),
    "one network of width 1 in theorem2": ("theorem2", ["widths=[1]", "seeds=[1]"], ""),
    "one network of width 1 in remark4": ("remark4", ["widths=[1]", "seeds=[1]"], ""),
    "one network of width 1 in prop1": ("prop1", ["widths=[1]", "seeds=[1]"], ""),
    "a kernel that overflows": ("prop2", ["depth=12"], "leaves torch.float64: σ = quadratic"),
    "one network of width 1 in kernel_gradient": ("kernel_gradient", ["widths=[1]", "seeds=1"], ""),
    "one network of width 1 in multi_output": ("multi_output", ["widths=[1]", "seeds=1", "setting.t=1e-6"], ""),
    "one random function": ("random_functions", ["numbers=[1]", "seeds=1"], ""),
    "one network of width 1 in remark1": ("remark1", ["kernel={betas: [0.1,1.0], widths: [1], seeds: [1]}"], ""),
    "one network of width 1 in least_squares": (
        "least_squares",
        ["noisy={widths: [1], seeds: 1}", "wide_seeds=1", "clean_seeds=1", "gaussian={widths: [1], seeds: 1}"],
        "",
    ),
    "a first time of almost nothing": ("least_squares", ["training.first=1e-6"], ""),
    "width 3 in depth_inference": ("depth_inference", ["held_out.width=3"], ""),
    "one network of width 1 in drift": ("drift", ["widths=[1]", "seeds=[1]"], ""),
}
"""Preset, what is changed, and why a cell fails, if one does."""
QUICK = ("one network of width 1 in prop1",)


def run(folder: Path, name: str, *overrides: str) -> tuple[int, list[str]]:
    """The exit code of a tiny run, and its lines of errors. Asserts that nothing else is said there."""
    options = ("tracking=disabled", "threads=1", "workers=1", f"results={folder}")
    done = call(f"+exp=ci/{name}", *OVERRIDES[name], *overrides, *options, module=RUN)
    lines = done.stderr.removeprefix("error: ").splitlines()
    said = f"+exp=ci/{name} {' '.join(overrides)}: {done.stderr}"
    assert done.returncode in (0, 1, 2), said
    assert "TRACEBACK=1" not in done.stderr, said
    if done.returncode == 0:
        assert (lines, done.stdout[:1].isalpha()) == ([], True), said
    elif done.returncode == 1:
        *failures, last = lines
        assert last == "the other cells are stored; nothing was drawn", said
        assert all(re.match(r"[\w.-]*seed\d+(-\d+)?(, seed \d+)?: ", line) for line in failures), said
        lines = failures
    else:
        assert (len(lines), files(folder)) == (1, {}), said
    return done.returncode, lines


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in DEGENERATE])
def test_one_of_everything(tmp_path: Path, name: str) -> None:
    preset, overrides, failure = DEGENERATE[name]
    code, lines = run(tmp_path, preset, *overrides)
    assert code == (1 if failure else 0), lines
    assert all(failure in line for line in lines)


VALUES = ("1", "2", "3", "0.5", "[1]", "[1,2]", "[0]", "[2,1]", "null", "true", "{widths: [1], seeds: 1}", "identity")


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERRIDES)
def test_drawn_values(tmp_path: Path, name: str) -> None:
    """One or two keys, whatever they mean, with small values."""
    stream = random.Random(name)
    known = [key for key in keys(COMPOSE.preset(f"ci/{name}")) if key not in ("preset", "experiment", "results")]
    for i in range(4):
        changes = [f"{key}={stream.choice(VALUES)}" for key in stream.sample(known, stream.choice((1, 1, 2)))]
        run(tmp_path / str(i), name, *changes)
