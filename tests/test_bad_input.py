"""Bad input is refused before anything is computed or written: one line with the key, the value and what is allowed."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from scripts_fixtures import CELLS, call, copy_cells, copy_repository, files, finish, script, start, stored

CI, F3 = "+exp=ci/fig1", "+exp=ci/fig3"
PRESETS = ", ".join(script("compose").presets())
SOLVERS = "gradient_flow, gradient_descent"
NEEDS_DESCENT = "needs training.solver=gradient_descent"

# overrides → what the line must say, in this order
REFUSED = {
    "unknown key": ([CI, "foo=1"], ["foo=1", "no such key", "conf/exp"]),
    "unknown key with +": ([CI, "+foo=1"], ["foo=1", "no such key", "widths", "intervals"]),
    "unknown key with ++": ([CI, "++foo=1"], ["foo=1", "no such key", "widths", "intervals"]),
    "unknown key below": ([CI, "training.foo=1"], ["training.foo=1", "no such key", "conf/exp"]),
    "unknown key below with +": (
        [CI, "+training.foo=1"],
        ["training.foo=1", "no such key", "tolerance", "loss_factor"],
    ),
    "unknown key of tracking": ([CI, "+tracking.foo=1"], ["tracking.foo=1", "no such key", "mode", "project"]),
    "misspelt experiment": (["+exp=gif1"], ["+exp=gif1", PRESETS]),
    "misspelt reduced experiment": (["+exp=ci/gif1"], ["+exp=ci/gif1", PRESETS]),
    "experiment without +": (["exp=fig1"], ["exp=fig1", "+exp=<name>", PRESETS]),
    "no experiment": ([], ["+exp=<name>", PRESETS]),
    "two experiments": (["+exp=fig1,ci/fig1"], ["+exp=fig1,ci/fig1"]),
    "not an override": ([CI, "nonsense"], ["nonsense"]),
    "unfinished list": ([CI, "widths=[10"], ["[10"]),
    "unknown reference": ([CI, "training.t=${nope}"], ["nope"]),
    "missing value": ([CI, "training.t=???"], ["training.t", "missing"]),
    "removed key": ([CI, "~widths"], ["widths", "missing"]),
    "width 0": ([CI, "widths=[0]"], ["widths=[0]", "≥ 1"]),
    "negative width": ([CI, "widths=[-3,10]"], ["widths=[-3, 10]", "≥ 1"]),
    "fractional width": ([CI, "widths=[1.5]"], ["widths", "1.5", "Integer"]),
    "width in words": ([CI, "widths=[ten]"], ["widths", "ten", "Integer"]),
    "one width, no list": ([CI, "widths=5"], ["widths=5", "list"]),
    "no widths": ([CI, "widths=[]"], ["widths=[]", "not be empty"]),
    "width null": ([CI, "widths=null"], ["widths=", "None", "not Optional"]),
    "repeated width": ([CI, "widths=[10,10]"], ["widths=[10, 10]", "not repeat"]),
    "repeated seed": ([CI, "seeds=[0,1,0]"], ["seeds=[0, 1, 0]", "not repeat"]),
    "negative seed": ([CI, "seeds=[-1]"], ["seeds=[-1]", "≥ 0"]),
    "no seeds": ([CI, "seeds=[]"], ["seeds=[]", "not be empty"]),
    "no narrow seeds": ([CI, "narrow_seeds=0"], ["narrow_seeds=0", "≥ 1"]),
    "no wide seeds": ([CI, "wide_seeds=0"], ["wide_seeds=0", "≥ 1"]),
    "no seeds of a trend": ([CI, "trend.seeds=0"], ["trend.seeds=0", "≥ 1"]),
    "width 0 of a trend": ([CI, "trend.widths=[0]"], ["trend.widths=[0]", "≥ 1"]),
    "β < 0": ([CI, "network.beta=-1"], ["network.beta=-1", "≥ 0"]),
    "β infinite": ([CI, "network.beta=inf"], ["network.beta=inf", "≥ 0"]),
    "β not a number": ([CI, "network.beta=nan"], ["network.beta=nan", "≥ 0"]),
    "depth 1": ([CI, "network.depth=1"], ["network.depth=1", "≥ 2"]),
    "unknown nonlinearity": ([CI, "network.nonlinearity=rely"], ["network.nonlinearity=rely", "relu", "quadratic"]),
    "unknown dtype": ([CI, "network.dtype=float16"], ["network.dtype=float16", "float32 or float64"]),
    "unknown device": ([CI, "device=abacus"], ["device=abacus", "cpu, cuda or cuda:<index>"]),
    "unsupported device": ([CI, "device=mps"], ["device=mps", "cpu, cuda or cuda:<index>"]),
    "threads 0": ([CI, "threads=0"], ["threads=0", "≥ 1"]),
    "no workers": ([CI, "workers=0"], ["workers=0", "≥ 1"]),
    "threads in words": ([CI, "threads=many"], ["threads=many", "Integer"]),
    "tolerance 0": ([CI, "training.tolerance=0"], ["training.tolerance=0", "> 0"]),
    "tolerance not a number": ([CI, "training.tolerance=nan"], ["training.tolerance=nan", "> 0"]),
    "tolerance infinite": ([CI, "training.tolerance=inf"], ["training.tolerance=inf", "> 0"]),
    "tolerance 0 of the control": ([CI, "mean_field.tolerance=0"], ["mean_field.tolerance=0", "> 0"]),
    "t = 0": ([CI, "training.t=0"], ["training.t=0", "> 0"]),
    "t in words": ([CI, "training.t=abc"], ["training.t=abc", "Float"]),
    "loss factor 0": ([CI, "training.loss_factor=0"], ["training.loss_factor=0", "> 0"]),
    "loss factor infinite": ([CI, "training.loss_factor=inf"], ["training.loss_factor=inf", "> 0"]),
    "rate 0": ([CI, "training.learning_rate=0"], ["training.learning_rate=0", "> 0"]),
    "rate infinite": ([CI, "training.learning_rate=inf"], ["training.learning_rate=inf", "> 0"]),
    "no samples": ([CI, "training.n_samples=0"], ["training.n_samples=0", "≥ 1"]),
    "unknown solver": ([CI, "training.solver=adam"], ["training.solver=adam", SOLVERS]),
    "t no multiple of the rate": (
        [CI, "training.solver=gradient_descent", "training.learning_rate=0.3"],
        ["training.t=200", "multiple of the rate 0.3"],
    ),
    "fresh inputs along the flow": ([CI, "training.fresh_inputs=true"], ["training.fresh_inputs=True", NEEDS_DESCENT]),
    "rescaling along the flow": (
        [CI, "training.normalize_hidden=true"],
        ["training.normalize_hidden=True", NEEDS_DESCENT],
    ),
    "fresh inputs neither true nor false": (
        [CI, "training.fresh_inputs=maybe"],
        ["training.fresh_inputs=maybe", "bool"],
    ),
    "alternative with an unknown key": (
        [CI, "+alternatives.sample_size.foo=1"],
        ["alternatives.sample_size", "foo", "no such key in training"],
    ),
    "alternative out of its domain": (
        [CI, "alternatives.loss_factor.loss_factor=-1"],
        ["alternatives.loss_factor", "loss_factor=-1", "> 0"],
    ),
    "alternative of a wrong type": (
        [CI, "alternatives.loss_factor.loss_factor=abc"],
        ["alternatives.loss_factor", "abc"],
    ),
    "alternative with a fractional number": (
        [CI, "alternatives.sample_size.n_samples=1.5"],
        ["alternatives.sample_size", "1.5"],
    ),
    "alternative with the name of a built-in variant": (
        [CI, "+alternatives.initial={loss_factor: 2}"],
        ["alternatives", "initial"],
    ),
    "odd intervals": ([CI, "intervals=10"], ["intervals=10", "multiple of 4"]),
    "unknown tracking": ([CI, "tracking=nope"], ["tracking=nope", "disabled, offline, online"]),
    "unknown tracking mode": ([CI, "tracking.mode=nope"], ["tracking.mode=nope", "offline, online, disabled"]),
    "a path with a home that is not there": ([F3, "data.path=~/no/such"], ["data.path=", "/no/such", "no such folder"]),
    "a path with =": ([CI, "results=out/run=1"], ["results=out/run=1", "as in 'results=\"out/run=1\"'"]),
    "an accent": ([CI, "results=é"], ["results=é", "as in 'results=\"é\"'"]),
    "an accent in a list": ([CI, "tracking.tags=[é]"], ["tracking.tags=[é]", "in quotes"]),
    "a quote alone": ([CI, "'"], ["'", "in quotes"]),
    "a group that is null": ([CI, "tracking=null"], ["tracking=null", "disabled, offline, online"]),
    "a value without a key": ([CI, "=1"], ["=1", "no such key"]),
    "a package alone": ([CI, "@x=1"], ["@x=1", "no such key"]),
    "a key of a list": ([CI, "widths.a=1"], ["widths.a=1"]),
    "a list in a list": ([CI, "widths=[[1]]"], ["widths=[[1]]", "must be integers"]),
    "a mapping for a list": ([CI, "widths={a: 1}"], ["widths={a: 1}", "another type"]),
    "kinds mixed": ([CI, "widths=[1,a,null]"], ["widths[1]=a", "Integer"]),
    "a number among lists": (
        ["+exp=ci/theorem1", "unequal=[[64,64,64],0]"],
        ["unequal=[[64, 64, 64], 0]", "ListConfig"],
    ),
    "width 2⁶³": ([CI, f"widths=[{2**63}]"], [f"widths[0]={2**63}", "at most 2147483647"]),
    "draw 2⁶³": ([CI, f"draw={2**63}"], [f"draw={2**63}", "at most 2147483647"]),
    "seeds without end": ([CI, "narrow_seeds=100000000"], ["narrow_seeds=100000000", "at most 1000000"]),
    "too deep": ([CI, "network.depth=100000"], ["network.depth=100000", "≤ 1000"]),
    "t without end": ([CI, "training.t=1e300"], ["training.t=1e+300", "within"]),
    "a resolution that does not end": ([F3, "rates.resolution=1e-20"], ["rates.resolution=1e-20", "≥ 1e-6"]),
    "a long key": ([CI, "x" * 300 + "=1"], ["xxx=1"]),
    "a long name": (["+exp=" + "x" * 300], ["xxx", PRESETS]),
    "a long folder": ([CI, "results=" + "x" * 300], ["xxx", "too long"]),
    "a long text": ([CI, "network.nonlinearity=" + "x" * 2000], ["network.nonlinearity=", "1000 characters"]),
    "threads without end": ([CI, "threads=20000"], ["threads=20000", "≤"]),
    "workers without end": ([CI, "workers=20000"], ["workers=20000", "≤"]),
    "a folder of Hydra's": ([CI, "hydra.output_subdir=x"], ["hydra.output_subdir=x", "under its results folder"]),
    "another folder of Hydra's": ([CI, "hydra.run.dir=x"], ["hydra.run.dir=x", "under its results folder"]),
    "a launcher that is not there": (["-m", CI, "hydra/launcher=ray"], ["hydra/launcher=ray", "basic", "plugin"]),
    "no Slurm": (
        ["-m", CI, "hydra/launcher=submitit_slurm"],
        ["hydra/launcher=submitit_slurm", "no Slurm here", "joblib"],
    ),
    "a sweep of an unknown key": (["-m", CI, "foo=1,2"], ["foo", "no such key"]),
    "too deep for a limit": (["+exp=ci/prop2", "depth=100000"], ["depth=100000", "2 … 1000"]),
    "a project's name": ([CI, "tracking.project=a/b"], ["tracking.project=a/b", "cannot contain"]),
    "a long tag": ([CI, f"tracking.tags=[{'t' * 65}]"], ["tracking.tags=", "64 characters"]),
    "results null": ([CI, "results=null"], ["results", "None"]),
    "results empty": ([CI, "results="], ["results="]),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/run.py, which must not get as far as computing, in an empty working directory."""

    def compute(*_: object) -> None:
        raise AssertionError("the input was accepted")

    module = script("run")
    monkeypatch.setattr(module, "compute_missing", compute)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return module


def assert_one_line(stderr: str, parts: list[str]) -> None:
    assert stderr.startswith("error: ")
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1, stderr
    assert re.search(".*".join(map(re.escape, parts)), stderr), f"{stderr!r} does not say {parts}"


@pytest.mark.parametrize(("overrides", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(run: ModuleType, tmp_path: Path, overrides: list[str], parts: list[str]) -> None:
    given = any(override.startswith("results=") for override in overrides)
    done = call(*overrides, *([] if given else [f"results={tmp_path / 'results'}"]), module=run)
    assert done.returncode == 2
    assert_one_line(done.stderr, parts)
    assert done.stdout == ""
    assert files(tmp_path) == {}


VARIABLES = ("WANDB_MODE=x", "WANDB_BASE_URL=x", "WANDB_RUN_ID=a/b", "WANDB_RESUME=x", "WANDB_INIT_TIMEOUT=x")


@pytest.mark.parametrize("variable", VARIABLES)
def test_refused_variables_of_weights_and_biases(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(*variable.split("="))
    done = call(CI, f"results={tmp_path / 'results'}", module=run)
    assert done.returncode == 2
    assert_one_line(done.stderr, [f"{variable} in the environment: "])
    assert files(tmp_path) == {}


WIDE = {
    "ci/fig1": "widths=[500,200000]",
    "ci/fig2": "widths=[500,1000000]",
    "ci/fig3": "widths=[1000000]",
    "ci/kernel_gradient": "widths=[1000000]",
    "ci/multi_output": "widths=[1000000]",
    "ci/prop1": "widths=[2147483647] seeds=[1]",
    "ci/theorem1": "unequal=[[64,64,64],[64,2147483647,64]]",
    "ci/theorem2": "widths=[2147483647] seeds=[1]",
    "ci/drift": "check.widths=[2147483647]",
    "ci/least_squares": "linear.widths=[1000000]",
    "ci/remark1": "kernel.widths=[1000000] kernel.seeds=[1]",
    "ci/depth_inference": "held_out.width=1000000",
}


@pytest.mark.parametrize(("preset", "overrides"), WIDE.items())
def test_what_does_not_fit_is_refused_before_anything_is_computed(tmp_path: Path, preset: str, overrides: str) -> None:
    done = call(f"+exp={preset}", *overrides.split(), "tracking=disabled", f"results={tmp_path}")
    assert done.returncode == 2, done.stderr
    assert_one_line(done.stderr, [" needs ", "GiB", "the largest width that fits is "])
    assert files(tmp_path) == {}


def test_a_mistake_in_the_file_of_a_preset(tmp_path: Path) -> None:
    root = copy_repository(tmp_path)
    (root / "conf" / "exp" / "mine.yaml").write_text("# @package _global_\na: b: c\n")
    command = [sys.executable, str(root / "scripts" / "run.py"), "+exp=mine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert_one_line(done.stderr, ["mine.yaml", "line 2"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_no_cuda(run: ModuleType, tmp_path: Path, device: str) -> None:
    done = call(CI, f"device={device}", f"results={tmp_path / 'results'}", module=run)
    assert done.returncode == 2
    assert_one_line(done.stderr, [f"device={device}", "no CUDA device", "device=cpu"])
    assert files(tmp_path) == {}


@pytest.mark.parametrize("below", [".", "further/below"])
def test_unwritable_results(run: ModuleType, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    results = tmp_path / "file" / below
    done = call(CI, f"results={results}", module=run)
    assert done.returncode == 2
    assert_one_line(done.stderr, ["results", str(results), "cannot be written to"])
    assert files(tmp_path) == {"file": b"not a folder"}


def test_refused_by_a_process(tmp_path: Path) -> None:
    """The same from outside: the exit code, and nothing else on either stream."""
    done = finish(start(CI, "widths=[0]", f"results={tmp_path / 'results'}", place=tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: widths=[0]: must be integers ≥ 1\n"
    assert files(tmp_path) == {}


def test_a_bad_value_in_a_sweep(tiny: Path, tmp_path: Path, plain_figures: None) -> None:
    """The other jobs are done; the error names the job, and is raised at the end."""
    results = tmp_path / "results"
    copy_cells(tiny, results, "main")
    done = call("-m", *CELLS, "widths=[16],[0]", f"results={results}")
    assert done.returncode == 2
    *_, job, last = done.stderr.splitlines()
    assert "'widths=[0]'" in job
    assert last == "error: widths=[0]: must be integers ≥ 1"
    assert "Traceback" not in done.stderr
    assert any(name.startswith("main-n16") for name in stored(results))


@pytest.mark.parametrize("workers", [1, 2])
def test_divergence(tmp_path: Path, workers: int) -> None:
    """One line for each cell that failed; the others are stored, and nothing is drawn."""
    rates = ("training.solver=gradient_descent", "training.t=1000", "training.learning_rate=50")
    done = call(*CELLS, *rates, f"workers={workers}", f"results={tmp_path}")
    assert done.returncode == 1
    *failures, last = done.stderr.removeprefix("error: ").splitlines()
    assert last == "the other cells are stored; nothing was drawn"
    pattern = (
        r"(\w+)-n(\d+)-seed0-9, seed \d: gradient descent diverged at step (\d+) \(t = (\d+)\): learning rate 50, "
        r"λ_max = ([\d.]+) at the start, so rates must stay below (2/λ_max|2/\(2 λ_max\)) = ([\d.]+)"
    )
    matches = [re.fullmatch(pattern, line) for line in failures]
    assert all(matches), done.stderr
    groups = [match.groups() for match in matches if match]
    assert {("main", "16"), ("main", "32"), ("main", "64"), ("loss_factor", "16")} <= {group[:2] for group in groups}
    for variant, _, step, t, largest, bound, rate in groups:
        assert int(t) == 50 * int(step)
        # The curvature of loss_factor · ‖f − f*‖² is 2 loss_factor, which is 1 but for the alternative with factor 1.
        curvature = 2 if variant == "loss_factor" else 1
        assert bound == ("2/λ_max" if curvature == 1 else "2/(2 λ_max)")
        assert float(largest) * float(rate) == pytest.approx(2 / curvature, rel=1e-3), variant
    cells = stored(tmp_path)
    assert any(name.startswith("initial") for name in cells)
    assert not any(name.startswith("main") for name in cells)
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.png"))
    assert not list(tmp_path.rglob("*.tmp"))
