"""run.py and figures.py from end to end: the reduced Figure 1 and what it leaves, interruptions, sweeps, publishing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xarray as xr
from omegaconf import OmegaConf
from scripts_fixtures import (
    ROOT,
    TINY,
    assert_decided_as_listed,
    assert_same,
    call,
    copy_repository,
    files,
    finish,
    in_background,
    redraw,
    script,
    start,
    stored,
)

from replication.engine import ENGINE
from replication.experiments.fig1 import EXPERIMENT
from replication.study.claims import decide
from replication.study.experiment import Cell, Ensemble
from replication.study.store import read_dataset, write_dataset

CLAIMS = [claim.id for claim in EXPERIMENT.claims]
FIGURES = ["fig1", "fig1_widths", "fig1_choices"]


def watched() -> dict[str, int]:
    """What no run may touch: the published figures and the sources, by the time of their last change."""
    paths = [
        ROOT / "README.md",
        *(path for name in ("figures", "conf", "scripts") for path in (ROOT / name).rglob("*")),
    ]
    return {str(path): path.stat().st_mtime_ns for path in paths if "__pycache__" not in path.parts}


def computed(done: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """(cells computed, cells in all), as printed."""
    assert done.returncode == 0, done.stderr
    match = re.search(r"\((\d+) of (\d+) cells computed now\)", done.stdout)
    assert match
    return int(match[1]), int(match[2])


def claims_table(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.partition("\nfigure ")[0]


@dataclass
class Reduced:
    """The reduced Figure 1, run as a user would, and what it left where it should and should not."""

    done: subprocess.CompletedProcess[str]
    results: Path
    elsewhere: dict[str, bytes]
    sources_before: dict[str, int]
    sources_after: dict[str, int]

    @property
    def folder(self) -> Path:
        (folder,) = (self.results / "runs").iterdir()
        return folder

    @property
    def dataset(self) -> xr.Dataset:
        return read_dataset(self.folder / "fig1.nc")


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Reduced:
    place, results = tmp_path_factory.mktemp("place"), tmp_path_factory.mktemp("store") / "results"
    before = watched()
    done = finish(start("+exp=ci/fig1", f"results={results}", place=place), timeout=900)
    return Reduced(done, results, files(place), before, watched())


# The reduced Figure 1


def test_reduced_run_prints_claims_figure_and_cost(reduced: Reduced) -> None:
    done = reduced.done
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    decided = [line.split()[:2] for line in lines if re.match(r"fig1\.\w", line)]
    assert decided == [[claim, "holds"] for claim in CLAIMS]
    assert "NOT rejected" not in done.stdout
    printed = dict(re.findall(r"^(figure|claims|results) +(\S+)", done.stdout, re.MULTILINE))
    assert Path(printed["figure"]) == reduced.folder / "fig1.png"
    assert Path(printed["claims"]) == reduced.folder / "CLAIMS.md"
    assert Path(printed["results"]) == reduced.results / "fig1" / f"v{EXPERIMENT.version}.{ENGINE}"
    assert all(Path(path).exists() for path in printed.values())
    cost = re.search(r"^wall time +([\d.]+) s, peak memory ([\d.]+) GiB$", done.stdout, re.MULTILINE)
    assert cost
    assert float(cost[1]) > 1
    assert 0.1 < float(cost[2]) < 2.5
    cells = list((reduced.results / "fig1").rglob("*.nc"))
    assert computed(done) == (len(cells), len(cells))


def test_reduced_claims_hold_and_controls_are_rejected(reduced: Reduced) -> None:
    outcomes = decide(EXPERIMENT.claims, reduced.dataset)
    assert {outcome.claim.id: outcome.verdict for outcome in outcomes} == dict.fromkeys(CLAIMS, "holds")
    assert_decided_as_listed(outcomes, script("compose").typed(script("compose").preset("ci/fig1"))[1])
    text = (reduced.folder / "CLAIMS.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| fig1\.\w", line)]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == CLAIMS
    assert all(" | holds | " in row and ": rejected |" in row for row in rows)
    for name in FIGURES:
        assert f"({name}.png)" in text


def test_reduced_run_writes_under_results_only(reduced: Reduced) -> None:
    assert reduced.elsewhere == {}
    assert reduced.sources_after == reduced.sources_before
    assert {path.name for path in reduced.results.iterdir()} == {"fig1", "runs"}
    expected = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    assert {path.name for path in reduced.folder.iterdir()} == {*expected, "fig1.nc", "CLAIMS.md", "wandb"}
    assert not list(reduced.results.rglob("*.tmp"))


def inspect(folder: Path, *options: str) -> str:
    (record,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(record)]
    folders = {"WANDB_CONFIG_DIR": str(folder.parent), "WANDB_CACHE_DIR": str(folder.parent)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | folders, cwd=folder)
    return done.stdout


def test_reduced_run_is_recorded(reduced: Reduced, tmp_path: Path) -> None:
    shutil.copytree(reduced.folder / "wandb", tmp_path / "run" / "wandb")
    folder = tmp_path / "run"
    summary: dict[str, Any] = json.loads(inspect(folder, "--summary"))
    composed = script("compose").preset("ci/fig1", f"results={reduced.results}")
    config = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(config, dict)
    # Weights & Biases keeps no empty mapping.
    assert summary["config"] == {name: value for name, value in config.items() if value != {}}
    assert summary["tags"] == ["ci/fig1"]
    assert (summary["state"], summary["exit_code"]) == ("finished", 0)

    final = summary["summary"]
    assert {name: final[f"claims/{name}"] for name in CLAIMS} == dict.fromkeys(CLAIMS, "holds")
    assert final["verdicts/holds"] == len(CLAIMS)
    assert final["wall_time"] > 1
    assert 0.1 < final["peak_memory_GiB"] < 2.5
    assert final["cells_computed"] == computed(reduced.done)[0]

    (run,) = (folder / "wandb").glob("offline-run-*")
    for name in FIGURES:
        image = run / "files" / final[f"figures/{name}"]["path"]
        assert image.read_bytes() == (reduced.folder / f"{name}.png").read_bytes()
    table = json.loads((run / "files" / final["claims"]["path"]).read_text(encoding="utf-8"))
    column = {name: i for i, name in enumerate(table["columns"])}
    assert [(row[column["id"]], row[column["verdict"]]) for row in table["data"]] == [(c, "holds") for c in CLAIMS]
    assert all("rejected" in row[column["controls"]] for row in table["data"])

    lines = map(json.loads, inspect(folder).splitlines())
    rows = [line["history"]["item"] for line in lines if line["type"] == "history"]
    dataset = reduced.dataset
    for width in dataset.attrs["widths"]:
        main = dataset.isel(network=((dataset.variant == "main") & (dataset.width == width)).values)
        recorded = {row["t"]: row[f"cost/n={width}"] for row in rows if f"cost/n={width}" in row}
        assert list(recorded) == dataset.t.values.tolist()
        assert list(recorded.values()) == pytest.approx(main.cost.mean("network").values.tolist())
        name = f"theta(x0,x0)/n={width}"
        recorded = {row["t"]: row[name] for row in rows if name in row}
        assert recorded == {
            t: pytest.approx(float(main.theta.sel(time=t, angle=0).mean())) for t in dataset.time.values.tolist()
        }


def test_second_call_computes_nothing_and_gives_the_same(reduced: Reduced) -> None:
    kept = {name: data for name, data in files(reduced.results).items() if "/wandb/" not in name}
    done = call("+exp=ci/fig1", f"results={reduced.results}", "tracking=disabled")
    assert computed(done)[0] == 0
    assert claims_table(done) == claims_table(reduced.done)
    again = {name: data for name, data in files(reduced.results).items() if "/wandb/" not in name}
    assert again.keys() == kept.keys()
    assert [name for name in kept if again[name] != kept[name]] == []


# Interruptions, and several runs on one store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, xr.Dataset]:
    """The cells of the tiny config, computed in one go."""
    results = tmp_path_factory.mktemp("whole")
    done = call(*TINY, f"results={results}")
    cells = stored(results)
    assert computed(done) == (len(cells), len(cells))
    return cells


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("signals", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_resume(whole: dict[str, xr.Dataset], tmp_path: Path, signals: signal.Signals, workers: int) -> None:
    results = tmp_path / "results"
    before = in_background() if workers > 1 else []  # that the signal is ignored at first must not matter
    options = [*TINY, f"workers={workers}", f"results={results}"]
    process = start(*options, place=tmp_path / "place", before=before)
    while process.poll() is None and len(list(results.rglob("*.nc"))) < 3:
        time.sleep(0.002)
    children = running_children(process.pid)
    process.send_signal(signals)
    done = finish(process)
    if signals == signal.SIGINT:
        line = "error: interrupted; what was finished is stored, and the same command goes on from there\n"
        assert (done.returncode, done.stdout, done.stderr) == (130, "", line)
        if workers == 1:
            assert not list(results.rglob("*.tmp"))
    else:
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", "")
    assert len(children) == (workers if workers > 1 else 0)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):  # no worker outlives its parent
        assert time.monotonic() < deadline
        time.sleep(0.05)
    finished = stored(results)
    assert 3 <= len(finished) < len(whole)
    assert not list(results.rglob("*.png"))
    kept = files(results)

    again = call(*TINY, f"results={results}")
    assert computed(again) == (len(whole) - len(finished), len(whole))
    assert_same(stored(results), whole)
    assert all(data == kept[name] for name, data in files(results).items() if name in kept)


def running_children(process: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_workers(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    done = call(*TINY, "workers=2", f"results={tmp_path}", terminal=True)
    assert computed(done) == (len(whole), len(whole))
    assert re.search(r"fig1: 100%.* cell 13/13", done.stderr)
    assert_same(stored(tmp_path), whole)


def test_the_largest_cells_are_computed_alone(
    whole: dict[str, xr.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with its threads, after the workers have done the others."""
    figure1, here = type(EXPERIMENT), []
    compute, ensembles = figure1.compute, figure1.ensembles

    def record(self: Any, cell: Cell[Any], *rest: Any) -> xr.Dataset:
        here.append((cell.setting.width, len(stored(tmp_path))))  # of a worker: to a list of its own
        return compute(self, cell, *rest)

    def weighed(self: Any, config: Any) -> Iterator[Ensemble[Any]]:
        for ensemble in ensembles(self, config):
            yield replace(ensemble, work=50.0 if ensemble.setting.width == 64 else 1.0)

    monkeypatch.setattr(figure1, "compute", record)
    monkeypatch.setattr(figure1, "ensembles", weighed)
    large = sum("n64" in name for name in whole)
    assert 0 < large < len(whole)
    done = call(*TINY, "workers=2", f"results={tmp_path}", terminal=True)
    assert computed(done) == (len(whole), len(whole))
    assert here == [(64, len(whole) - large + i) for i in range(large)]
    assert re.search(r"fig1: 100%.* cell 13/13", done.stderr)
    assert_same(stored(tmp_path), whole)


@pytest.mark.parametrize(
    ("work", "workers", "shared", "alone"),
    [
        ([1, 2, 3], 1, [], [1, 2, 3]),
        ([1, 1, 1, 1, 1], 2, [1, 1, 1, 1, 1], []),
        ([10, 1, 1, 9, 1], 2, [1, 1, 1], [10, 9]),
        ([10, 1], 2, [], [10, 1]),
        ([5], 2, [], [5]),
        ([], 2, [], []),
    ],
)
def test_cells_are_divided_by_their_part_of_the_work(
    work: list[int], workers: int, shared: list[int], alone: list[int]
) -> None:
    cells = [SimpleNamespace(work=amount) for amount in work]
    divided = script("cells")._divided(cells, workers)
    assert tuple([cell.work for cell in part] for part in divided) == (shared, alone)


def test_a_killed_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and what was finished is stored."""
    compute = type(EXPERIMENT).compute

    def killed_at_32(self: Any, cell: Cell[Any], *rest: Any) -> xr.Dataset:
        if cell.setting.width == 32:
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(self, cell, *rest)

    monkeypatch.setattr(type(EXPERIMENT), "compute", killed_at_32)
    done = call(*TINY, "workers=2", f"results={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: a worker was killed, maybe for lack of memory: try fewer workers\n"
    assert not any("n32" in name for name in stored(tmp_path))


def test_two_runs_at_once_on_one_store(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    processes = [start(*TINY, f"results={tmp_path / 'results'}", place=tmp_path / f"place{i}") for i in range(2)]
    done = [finish(process) for process in processes]
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 2
    assert_same(stored(tmp_path / "results"), whole)
    assert sum(computed(each)[0] for each in done) == len(whole)  # no cell twice
    assert claims_table(done[0]) == claims_table(done[1])
    assert not [name for name in files(tmp_path / "results") if ".tmp" in name or ".corrupt" in name]


def test_a_cell_is_the_same_alone_and_in_a_sweep(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    alone = [override for override in TINY if not override.startswith(("widths", "seeds", "trend", "initial"))]
    changes = ("widths=[32]", "seeds=[7]", "trend={widths: [], seeds: 1}", "initial={widths: [64], seeds: 3}")
    call(*alone, *changes, "+alternatives.more={t: 8}", f"results={tmp_path}")
    cells = stored(tmp_path)
    shared = sorted(cells.keys() & whole.keys())
    assert [name.split("-seed")[0] for name in shared] == [
        "initial-n64",
        "limit",
        "main-n32",
        "mean_field-n16",
        "mean_field-n32",
    ]
    assert_same(cells, whole, shared)


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    done = call(*TINY, f"results={tmp_path}", terminal=True)
    assert computed(done)[0] > 0
    assert re.search(r"fig1: +\d+%\|.*\| \d\d:\d\d<\d\d:\d\d, +cell \d+/13", done.stderr)  # the time left is known
    assert re.search(r"fig1: 100%.* cell 13/13", done.stderr)
    assert re.search(r"  main-n32-seed0-9: +\d+%\|", done.stderr)  # one bar inside the cell


# Sweeps

SWEEP = ("-m", *TINY, "widths=[16],[32]")


def assert_swept(done: subprocess.CompletedProcess[str], results: Path, whole: dict[str, xr.Dataset]) -> None:
    """Both jobs were done, into one store, which the plain command then gathers."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((results / "runs").iterdir())) == 2
    shared = sorted(stored(results).keys() & whole.keys())
    assert {"main-n16", "main-n32", "initial-n64", "sample_size-n16"} <= {name.split("-seed")[0] for name in shared}
    assert_same(stored(results), whole, shared)
    assert computed(call(*TINY, f"results={results}")) == (0, len(whole))


def test_sweep(whole: dict[str, xr.Dataset], tmp_path: Path) -> None:
    assert_swept(call(*SWEEP, f"results={tmp_path}"), tmp_path, whole)


LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_sweep_in_processes(whole: dict[str, xr.Dataset], tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    results, place = tmp_path / "results", tmp_path / "place"
    done = finish(start(*SWEEP, *LAUNCHERS[launcher], f"results={results}", place=place), timeout=300)
    assert_swept(done, results, whole)
    assert files(place) == {}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_bad_value_in_a_process_of_a_sweep(tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    results, place = tmp_path / "results", tmp_path / "place"
    sweep = ("-m", *TINY, "widths=[0],[-1]", *LAUNCHERS[launcher], f"results={results}")
    done = finish(start(*sweep, place=place), timeout=120)
    assert done.returncode not in (0, None)
    assert "widths=[0]: must be integers ≥ 1" in done.stderr
    assert files(place) == {}


# Help


def test_help_is_quick_and_says_how_to_choose() -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "scripts" / "run.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for part in ("+exp=fig1", "+exp=ci/fig1", "+exp=literal/fig1", "conf/exp", "'widths=[100,1000]'"):
        assert part in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "numpy", "scipy", "xarray", "matplotlib", "wandb", "replication"}


# Published figures


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copy_repository(tmp_path)


def test_figures_redraws_the_same_bytes(copy: Path, reduced: Reduced) -> None:
    write_dataset(copy / "figures" / "fig1.nc", reduced.dataset)
    before = files(copy)
    done = redraw(copy)
    assert (done.returncode, done.stderr) == (0, "")
    target = copy / "results" / "figures"
    drawn = files(target)
    assert {
        "CLAIMS.md",
        "claims.json",
        "report.html",
        *(f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")),
    } == set(drawn)
    assert {str(target / name) for name in drawn if not name.endswith(".pdf")} == set(done.stdout.split())
    for name in FIGURES:  # as run.py drew them
        for kind in ("png", "pdf"):
            assert drawn[f"{name}.{kind}"] == (reduced.folder / f"{name}.{kind}").read_bytes()
    # Nothing but results/figures was written.
    assert {name: data for name, data in files(copy).items() if not name.startswith("results/")} == before

    assert redraw(copy).returncode == 0
    assert files(target) == drawn

    shutil.rmtree(target)
    done = redraw(copy, "fig1")
    assert {str(target / f"{name}.png") for name in FIGURES} == set(done.stdout.split())
    assert files(target) == {name: data for name, data in drawn.items() if name.endswith((".png", ".pdf"))}


def test_publish_writes_figures_and_the_table_of_the_readme(copy: Path, reduced: Reduced) -> None:
    write_dataset(copy / "figures" / "fig1.nc", reduced.dataset)
    readme = (copy / "README.md").read_text(encoding="utf-8")
    assert redraw(copy, "--publish").returncode == 0
    assert {path.name for path in (copy / "figures").iterdir()} >= {"fig1.png", "fig1.pdf", "CLAIMS.md", "report.html"}
    text = (copy / "README.md").read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- claims -->\n")
    table, _, tail = rest.partition("<!-- /claims -->\n")
    (row,) = [line for line in table.splitlines() if line.startswith("| [fig1]")]
    assert f" of {len(CLAIMS)} (draw 0)](docs/results.md#fig1)" in row
    assert "## fig1\n" in (copy / "docs" / "results.md").read_text(encoding="utf-8")
    assert readme.startswith(head + "<!-- claims -->\n")
    assert readme.endswith("<!-- /claims -->\n" + tail)
    assert not (copy / "results" / "figures" / "fig1.png").exists()
    report = (copy / "figures" / "report.html").read_text(encoding="utf-8")
    assert report.count('src="data:image/png;base64,') == len(FIGURES)
    assert not re.search(r"(src|href)=\"(?!data:|#)", report)

    published = files(copy)
    assert redraw(copy, "--publish").returncode == 0
    assert files(copy) == published
