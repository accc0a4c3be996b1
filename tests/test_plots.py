"""The figures show the data (lines, colours, axes, labels), byte for byte the same each time, and bear empty lists."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from scripts_fixtures import TINY, call, copy_cells, script

from replication import plots
from replication.experiments.fig1 import EXPERIMENT
from replication.experiments.fig1.claims import CLAIMS
from replication.experiments.fig1.statistics import change, initial_kernels, spread
from replication.plots import benchmark as benchmark_plot
from replication.plots import fig1 as plot
from replication.plots import palette, work_precision
from replication.plots import width as width_plot
from replication.study.claims import decide
from replication.study.experiment import select
from replication.study.store import Store

compose = script("compose")


def assembled(tiny: Path, *overrides: str) -> xr.Dataset:
    """The data of a tiny config; the cells of the usual one are computed already."""
    preset, *usual = TINY
    experiment, config = compose.typed(compose.preset(preset.removeprefix("+exp="), *usual, *overrides))
    store = Store(tiny)
    parts = [(store.load(cell), cell) for cell in experiment.cells(config)]
    return experiment.join(config, [experiment.compute(cell) if part is None else part for part, cell in parts])


@pytest.fixture(scope="module")
def dataset(tiny: Path) -> xr.Dataset:
    return assembled(tiny)


@pytest.fixture
def figures(dataset: xr.Dataset) -> Iterator[dict[str, Figure]]:
    with plots.style():
        yield plot.figures(dataset)


def points(line: Any) -> np.ndarray:
    return np.asarray(line.get_xydata())


def test_fig1_has_the_axes_of_the_paper(figures: dict[str, Figure]) -> None:
    (axes,) = figures["fig1"].axes
    assert axes.get_ylim() == (0.05, 0.40)
    assert axes.get_xlim() == (-math.pi, math.pi)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (r"$\gamma$", r"$\Theta^{(4)}(x_0, x(\gamma))$")
    legend = axes.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == [
        "$n = 16$, $t = 0$",
        "$n = 16$, $t = 4$",
        "$n = 32$, $t = 0$",
        "$n = 32$, $t = 4$",
        r"limit $\Theta_\infty^{(4)}$",
    ]
    handles = legend.get_lines()
    assert [line.get_linestyle() for line in handles] == ["-", ":", "-", ":", "-"]
    colors = [to_hex(line.get_color()) for line in handles]
    assert colors[0] == colors[1] != colors[2] == colors[3]
    assert colors[4] == "#000000"


def test_fig1_draws_each_network_once_at_each_time(figures: dict[str, Figure], dataset: xr.Dataset) -> None:
    (axes,) = figures["fig1"].axes
    legend = axes.get_legend()
    assert legend
    colors = {width: to_hex(legend.get_lines()[2 * i].get_color()) for i, width in enumerate(dataset.attrs["widths"])}
    *lines, limit = axes.get_lines()
    assert np.array_equal(points(limit), np.c_[dataset.angle, dataset.theta_inf.sel(depth=4)])
    assert to_hex(limit.get_color()) == "#000000"

    expected = []
    for width, color in colors.items():
        for seed in dataset.attrs["seeds"]:
            main = (dataset.variant == "main") & (dataset.width == width) & (dataset.seed == seed)
            (theta,) = dataset.theta.values[main.values]
            expected += [(color, style, curve.tolist()) for style, curve in zip("-:", theta, strict=True)]
    assert len(expected) == 2 * 2 * 3  # widths, times, seeds: of the ten networks at n = 16, only the drawn ones
    drawn = [(to_hex(line.get_color()), line.get_linestyle(), points(line)[:, 1].tolist()) for line in lines]
    assert sorted(drawn) == sorted(expected)
    assert all(np.array_equal(points(line)[:, 0], dataset.angle) for line in lines)


def test_fig1_widths_shows_the_statistics(figures: dict[str, Figure], dataset: xr.Dataset) -> None:
    left, middle, right = figures["fig1_widths"].axes
    assert [axes.get_title() for axes in (left, middle, right)] == [
        "variance at $t = 0$",
        "smoothness at $t = 0$",
        "change to $t = 4$",
    ]
    for axes in (left, middle, right):
        assert axes.get_xlabel() == "width $n$"
        assert axes.get_ylabel()
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    spreads = [[n, spread(initial_kernels(dataset, n))] for n in (16, 32, 64)]
    assert points(left.get_lines()[0]) == pytest.approx(np.array(spreads))
    changes = [[n, change(dataset, n).mean()] for n in (16, 32, 64)]
    assert points(right.get_lines()[0]) == pytest.approx(np.array(changes))
    control = [[n, change(dataset, n, "mean_field").mean()] for n in (16, 32)]
    assert points(right.get_lines()[-1]) == pytest.approx(np.array(control))
    for axes, theory in ((left, "$n^{-0.5}$"), (right, "$n^{-1}$")):
        legend = axes.get_legend()
        assert legend
        labels = [text.get_text() for text in legend.get_texts()]
        assert labels[0].startswith("fit $n^{-")
        assert labels[1] == theory
        assert labels[2:] == (["mean-field scaling"] if axes is right else [])


def test_fig1_choices_shows_the_alternatives(figures: dict[str, Figure], dataset: xr.Dataset) -> None:
    (axes,) = figures["fig1_choices"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "as in Figure 1 ($n = 16$)",
        "loss factor",
        "other inputs",
        "rescaling",
        "sample size",
        "$n = 32$",
    ]
    assert "at $t = 4$" in axes.get_xlabel()
    theta = select(dataset, variant="loss_factor").theta.sel(angle=0).values
    dots, mean = [line for line in axes.get_lines() if points(line)[0, 1] == 1 and len(points(line)) in (1, 10)]
    assert points(dots)[:, 0] == pytest.approx(theta[:, 1] / theta[:, 0])
    assert points(mean)[0, 0] == pytest.approx((theta[:, 1] / theta[:, 0]).mean())
    legend = axes.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == ["criterion: 0.5 to 2 times the growth of Figure 1"]
    (span,) = axes.patches
    main = select(dataset, variant="main", width=16).theta.sel(angle=0).values
    growth = (main[:, 1] / main[:, 0]).mean() - 1
    assert [span.get_x(), span.get_x() + span.get_width()] == pytest.approx([1 + growth / 2, 1 + 2 * growth])


def test_drawn_files(dataset: xr.Dataset, tmp_path: Path) -> None:
    paths = plots.draw("fig1", dataset, tmp_path / "a")
    assert list(paths) == ["fig1", "fig1_widths", "fig1_choices"]
    again = plots.draw("fig1", dataset, tmp_path / "b")
    for name, path in paths.items():
        image = imread(path)
        ink = (image[..., :3].min(axis=-1) < 0.9).mean()
        assert 0.01 < ink < 0.5, name
        assert min(image.shape[:2]) >= 300
        assert path.read_bytes() == again[name].read_bytes()
        assert path.with_suffix(".pdf").read_bytes() == again[name].with_suffix(".pdf").read_bytes()
        assert path.with_suffix(".pdf").stat().st_size > 5000


# Less than everything: what cannot be decided is undecided, and drawing goes on.
COUNTS = ("narrow_seeds", "wide_seeds", "alternative_seeds", "initial.seeds", "trend.seeds", "mean_field.seeds")
LISTS = {
    "one width": ["widths=[16]"],
    "no trend": ["trend.widths=[]"],
    "no networks at t = 0 only": ["initial.widths=[]"],
    "no mean-field control": ["mean_field.widths=[]"],
    "no alternatives": [
        f"~alternatives.{name}" for name in ("loss_factor", "other_inputs", "rescaling", "sample_size")
    ],
}
NOTHING = [override for overrides in LISTS.values() for override in overrides]
EMPTY = LISTS | {
    "nothing but one width": NOTHING,
    "three widths": ["widths=[8,16,32]"],
    "one seed": ["seeds=[0]", *(f"{count}=1" for count in COUNTS)],
    "five seeds": [f"{count}=5" for count in COUNTS],
}


@pytest.mark.parametrize("overrides", EMPTY.values(), ids=EMPTY.keys())
def test_less_data_leave_claims_undecided(tiny: Path, overrides: list[str]) -> None:
    dataset = assembled(tiny, *overrides)
    outcomes = {outcome.claim.id: outcome for outcome in decide(CLAIMS, dataset)}
    assert list(outcomes) == [claim.id for claim in CLAIMS]
    with plots.style():
        drawn = plot.figures(dataset)
        assert list(drawn) == ["fig1", "fig1_widths", "fig1_choices"]
        for figure in drawn.values():
            figure.draw_without_rendering()
    undecided = {
        "widths=[16]": ["fig1.variance", "fig1.smoother", "fig1.inflation_width"],
        "initial.widths=[]": ["fig1.variance", "fig1.smoothness_is_variance"],
        "mean_field.widths=[]": ["fig1.inflation_width"],
        "~alternatives.loss_factor": ["fig1.open_choices"] if "~alternatives.rescaling" in overrides else [],
        "narrow_seeds=1": list(outcomes),
    }
    for override in overrides:
        for name in undecided.get(override, []):
            assert outcomes[name].verdict == "undecided", f"{name} with {override}"
    for outcome in outcomes.values():
        assert outcome.row()["ours"]
    assert list(EXPERIMENT.metrics(dataset))


def test_less_data_from_end_to_end(tiny: Path, tmp_path: Path) -> None:
    copy_cells(tiny, tmp_path, "limit")
    done = call(*TINY, *NOTHING, f"results={tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "fig1.variance                undecided" in done.stdout


@pytest.mark.parametrize("known", [True, False])
def test_width_shows_what_is_measured_and_where_dense_weights_end(known: bool) -> None:
    exponents = {"exponent(s)": 1.04 if known else "–", "exponent(MiB)": 0.99 if known else "–"}
    none = {"exponent(s)": "–", "exponent(MiB)": "–"}
    rows = [
        {"n": 100, "revealed s": 0.1, "revealed MiB": 1.0, "dense s": 0.01, "dense MiB": 0.2} | none,
        {"n": 10_000, "revealed s": 0.2, "revealed MiB": 30.0, "dense s": 9.0, "dense MiB": 800.0} | none,
        {"n": 10**6, "revealed s": 19.0, "revealed MiB": 3000.0, "dense s": "–", "dense MiB": "–"} | exponents,
    ]
    (figure,) = width_plot.figures({"machine": {"GiB": 16.0}, "tables": {"revealed": {"rows": rows}}}).values()
    figure.draw_without_rendering()
    for axes, unit, exponent in zip(figure.axes, ("s", "MiB"), ("1.04", "0.99"), strict=True):
        lines = {line.get_label(): points(line) for line in axes.get_lines()}
        for name in ("revealed", "dense"):
            measured = [[row["n"], row[f"{name} {unit}"]] for row in rows if row[f"{name} {unit}"] != "–"]
            assert lines[f"{name} weights"].tolist() == measured
        assert lines["dense weights fill 16 GiB"][0, 0] == pytest.approx(math.sqrt(16 * 2**30 / 8))
        assert (exponent in axes.get_title()) == known


def made_up_runs() -> list[dict[str, Any]]:
    """A reference and two solvers, each with two runs, at two widths; no two numbers are the same."""
    numbers = iter(range(1, 100))
    solvers = ["reference", *["gradient flow, order 2"] * 2, *["DOP853"] * 2]
    keys = ("s", "products", "error of f", "error of Θ")
    return [
        {"n": n, "solver": solver} | {key: float(next(numbers)) for key in keys}
        for n in (300, 1000)
        for solver in solvers
    ]


def test_work_precision_shows_every_run() -> None:
    rows = made_up_runs()
    (figure,) = work_precision.figures({"tables": {"precision": {"rows": rows}}}).values()
    panels = np.reshape(np.array(figure.axes, dtype=object), (4, 2))
    assert [axes.get_title() for axes in panels[0]] == ["$n = 300$", "$n = 1000$"]
    kinds = [(error, work) for error in ("error of f", "error of Θ") for work in ("s", "products")]
    for (error, work), line in zip(kinds, panels, strict=True):
        for n, axes in zip((300, 1000), line, strict=True):
            here = [row for row in rows if row["n"] == n]
            lines = {curve.get_label(): points(curve) for curve in axes.get_lines()}
            assert set(lines.pop("error of the reference")[:, 1]) == {here[0][error]}
            expected = {row["solver"]: [] for row in here[1:]}
            for row in here[1:]:
                expected[row["solver"]].append([row[work], row[error]])
            assert {solver: curve.tolist() for solver, curve in lines.items()} == expected
            assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "error of the reference",
        "gradient flow, order 2",
        "DOP853",
    }


def test_the_benchmark_draws_the_tables_that_it_has() -> None:
    tables = {"precision": {"rows": made_up_runs()}, "kernel": {"rows": []}}
    assert list(benchmark_plot.figures({"tables": tables})) == ["work_precision"]
    assert benchmark_plot.figures({"tables": {}}) == {}


VISION = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""What is seen of linear RGB with each kind of colour vision (Machado, Oliveira and Fernandes 2009)."""


def lab(colors: Sequence[str], vision: str) -> np.ndarray:
    """CIE L*a*b* coordinates, in which distances are about those that people see."""
    rgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.array(VISION[vision]).T
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = np.clip(linear, 0, 1) @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def least_distance(colors: Sequence[str], vision: str) -> float:
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab(colors, vision), 2))


@pytest.mark.parametrize("vision", VISION)
def test_readers_with_any_colour_vision_tell_the_colours_apart(vision: str) -> None:
    few = [palette.BLUE, palette.TEAL, palette.ORANGE, palette.RED, palette.PURPLE, palette.CYAN, "black"]
    assert least_distance(few, vision) > 13
    assert least_distance(palette.MANY, vision) > 13


def test_matplotlibs_own_colours_are_too_near_for_some_readers() -> None:
    assert least_distance(["tab:red", "tab:green"], "deuteranopia") < 8
    assert least_distance(["tab:blue", "tab:purple"], "protanopia") < 8


def test_figures_use_no_other_colours() -> None:
    files = set(Path(plots.__file__).parent.glob("*.py")) - {Path(palette.__file__)}
    assert [file.name for file in files if re.search("tab:|#[0-9a-f]{6}", file.read_text(encoding="utf-8"))] == []
