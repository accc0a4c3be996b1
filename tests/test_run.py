"""The reduced Figure 1 from end to end, as a user runs it: what is printed, written, recorded and published."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from omegaconf import OmegaConf
from scripts_fixtures import (
    ROOT,
    assert_decided_as_listed,
    call,
    claims_table,
    computed,
    copy_repository,
    files,
    finish,
    redraw,
    script,
    start,
)

from replication.engine import ENGINE
from replication.experiments.fig1 import EXPERIMENT
from replication.study.claims import decide
from replication.study.store import read_dataset, write_dataset

CLAIMS = [claim.id for claim in EXPERIMENT.claims]
UNDECIDED = script("compose").typed(script("compose").preset("ci/fig1"))[1].undecided
FIGURES = ["fig1", "fig1_widths", "fig1_choices"]


def watched() -> dict[str, int]:
    """What no run may touch: the published figures and the sources, by the time of their last change."""
    paths = [
        ROOT / "README.md",
        *(path for name in ("figures", "conf", "scripts") for path in (ROOT / name).rglob("*")),
    ]
    return {str(path): path.stat().st_mtime_ns for path in paths if "__pycache__" not in path.parts}


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


def test_reduced_run_prints_claims_figure_and_cost(reduced: Reduced) -> None:
    done = reduced.done
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    decided = dict(line.split()[:2] for line in lines if re.match(r"fig1\.\w", line))
    assert list(decided) == CLAIMS
    assert {decided[claim] for claim in CLAIMS if claim not in UNDECIDED} == {"holds"}
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
    assert [outcome.claim.id for outcome in outcomes] == CLAIMS
    assert_decided_as_listed(outcomes, script("compose").typed(script("compose").preset("ci/fig1"))[1])
    text = (reduced.folder / "CLAIMS.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| fig1\.\w", line)]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == CLAIMS
    holding = [row for row in rows if row.split(" | ")[0].removeprefix("| ") not in UNDECIDED]
    assert all(" | holds | " in row and ": rejected |" in row for row in holding)
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
    assert {final[f"claims/{name}"] for name in CLAIMS if name not in UNDECIDED} == {"holds"}
    assert all(f"claims/{name}" in final for name in UNDECIDED)
    assert final["verdicts/holds"] == sum(final[f"claims/{name}"] == "holds" for name in CLAIMS)
    assert final["wall_time"] > 1
    assert 0.1 < final["peak_memory_GiB"] < 2.5
    assert final["cells_computed"] == computed(reduced.done)[0]

    (run,) = (folder / "wandb").glob("offline-run-*")
    for name in FIGURES:
        image = run / "files" / final[f"figures/{name}"]["path"]
        assert image.read_bytes() == (reduced.folder / f"{name}.png").read_bytes()
    table = json.loads((run / "files" / final["claims"]["path"]).read_text(encoding="utf-8"))
    column = {name: i for i, name in enumerate(table["columns"])}
    verdicts = {row[column["id"]]: row[column["verdict"]] for row in table["data"]}
    assert list(verdicts) == CLAIMS
    assert {verdicts[name] for name in CLAIMS if name not in UNDECIDED} == {"holds"}
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
