"""The experiment's skeleton: cells and their keys, measuring, joining, and what an author must write."""

import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

from replication.randomness import generator
from replication.study import experiment as module
from replication.study.experiment import Cell, Ensemble, Experiment, Progress, blocks, select
from replication.study.gather import MissingCellError, gather
from replication.study.settings import BaseConfig, ConfigError, TrackingConfig
from replication.study.store import Store, key
from replication.training import DivergenceError

SCALE = 3.0


@dataclass(kw_only=True)
class Config(BaseConfig):
    widths: list[int]
    seeds: list[int]


@dataclass(frozen=True, kw_only=True)
class Setting:
    width: int
    scale: float


class Sums(Experiment[Config, Setting]):
    """Σ of ``width`` normal numbers for two variants; and one number that has no seed."""

    name = "sums"
    version = 4
    config = Config
    claims = ()
    constants: ClassVar = {"scale": SCALE}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
        for variant in ("a", "b"):
            for width in config.widths:
                yield Ensemble(
                    labels={"variant": variant, "width": width},
                    setting=Setting(width=width, scale=1.0 if variant == "a" else 2.0),
                    seeds=config.seeds,
                    block=3,
                    work=width**2,
                )
        yield Ensemble(labels={}, setting=Setting(width=0, scale=1.0), seeds=(0,), kind="limit")

    def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
        progress(0.5)
        if cell.kind == "limit":
            return xr.Dataset({"inf": ((), 7.0)})
        if seed == 13:
            raise DivergenceError("too far", 2.0)
        numbers = torch.randn(cell.setting.width, generator=cell.stream("numbers", cell.setting.width, seed))
        return xr.Dataset({"sum": ((), SCALE * cell.setting.scale * float(numbers.sum()))})

    def assemble(self, config: Config, parts: Any) -> xr.Dataset:
        return parts["network"].assign(parts["limit"].isel(limit=0, drop=True)[["inf"]])


EXPERIMENT = Sums()


def config(**changes: Any) -> Config:
    base = {"experiment": "sums", "preset": "sums", "draw": 0, "claims": None, "undecided": {}, "results": "r"}
    machine = {"device": "cpu", "threads": None, "workers": 1, "quiet": False, "tracking": TrackingConfig()}
    return Config(**base | machine | {"widths": [20, 10], "seeds": [0, 1, 4]} | changes)


def dataset(of: Config) -> xr.Dataset:
    return EXPERIMENT.join(of, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(of)])


def test_cells_are_the_fixed_blocks_that_hold_the_seeds_the_cheap_ones_first() -> None:
    labels = [cell.label for cell in EXPERIMENT.cells(config())]
    narrow = ["a-n10-seed0-2", "a-n10-seed3-5", "b-n10-seed0-2", "b-n10-seed3-5"]
    assert labels == ["limit-seed0", *narrow, *(label.replace("n10", "n20") for label in narrow)]
    assert [cell.work for cell in EXPERIMENT.cells(config())] == [1.0] + 4 * [300.0] + 4 * [1200.0]
    assert blocks([5, 0, 7], 3) == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]


def test_a_network_is_the_same_in_every_config() -> None:
    few, many = dataset(config(seeds=[4])), dataset(config(seeds=range(9), widths=[10, 40, 20]))
    for network in range(few.sizes["network"]):
        one = few.isel(network=network)
        same = select(many, variant=str(one.variant.values), width=int(one.width), seed=int(one.seed))
        assert float(same["sum"][0]) == float(one["sum"])


def test_joined_networks_have_their_seeds_and_labels() -> None:
    joined = dataset(config())
    assert joined.sizes == {"network": 12}
    assert sorted(set(joined.seed.values)) == [0, 1, 4]
    assert float(joined.inf) == 7.0
    for width in (10, 20):
        a, b = (select(joined, variant=variant, width=width) for variant in "ab")
        assert a.seed.values.tolist() == [0, 1, 4]
        np.testing.assert_allclose(2 * a["sum"], b["sum"])
        numbers = torch.randn(width, generator=generator("sums", "numbers", width, 4))
        assert float(a["sum"][2]) == pytest.approx(SCALE * float(numbers.sum()))


def test_another_draw_has_other_numbers_everywhere() -> None:
    first, second = dataset(config()), dataset(config(draw=1))
    assert not np.isclose(first["sum"], second["sum"]).any()
    xr.testing.assert_identical(second, dataset(config(draw=1)))


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": "other"},
        {"version": 5},
        {"engine": 10**6},
        {"draw": 1},
        {"kind": "other"},
        {"labels": {"variant": "a", "width": 11}},
        {"setting": Setting(width=10, scale=1.5)},
        {"seeds": (0, 1)},
        {"constants": {"scale": 4.0}},
    ],
    ids=str,
)
def test_the_key_covers_all_that_makes_a_cell(change: dict[str, Any]) -> None:
    cell = EXPERIMENT.cells(config())[1]
    assert key(replace(cell, **change)) != key(cell)
    assert {field.name for field in dataclasses.fields(cell)} - {"work"} == {
        *("experiment", "version", "engine", "draw", "kind", "labels", "setting", "seeds", "constants")
    }


def test_the_key_covers_nothing_else() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Renamed:
        width: int
        scale: float

    cell = EXPERIMENT.cells(config())[1]
    assert key(replace(cell, work=5.0)) == key(cell)
    assert key(replace(cell, setting=Renamed(width=10, scale=1.0))) == key(cell)
    elsewhere = config(results="elsewhere", threads=3, workers=2, preset="other", claims=[], undecided={})
    assert [key(one) for one in EXPERIMENT.cells(elsewhere)] == [key(one) for one in EXPERIMENT.cells(config())]


def test_cells_of_another_engine_version_or_draw_lie_beside_the_first(tmp_path: Any) -> None:
    store, cell = Store(tmp_path), EXPERIMENT.cells(config())[1]
    paths = {store.path(replace(cell, **change)) for change in ({}, {"draw": 1}, {"engine": 99}, {"version": 5})}
    assert len(paths) == 4
    assert {path.parent.name for path in paths} == {f"v4.{cell.engine}", "v4.99", f"v5.{cell.engine}"}


def test_a_divergence_names_the_cell_and_the_seed() -> None:
    (cell,) = (cell for cell in EXPERIMENT.cells(config(widths=[10], seeds=[13])) if cell.label == "a-n10-seed12-14")
    with pytest.raises(DivergenceError, match="a-n10-seed12-14, seed 13: too far") as error:
        EXPERIMENT.compute(cell)
    assert error.value.t == 2.0


def test_progress_rises_to_one() -> None:
    done: list[float] = []
    EXPERIMENT.compute(EXPERIMENT.cells(config())[1], "cpu", done.append)
    assert done == pytest.approx([1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1])


def test_an_unknown_claim_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"claims=sums\.none"):
        EXPERIMENT.claims_of(["sums.none"])


def test_gathered_data_carry_their_provenance(tmp_path: Any) -> None:
    store, of = Store(tmp_path), config(draw=2)
    with pytest.raises(MissingCellError, match="sums: limit-seed0 is not in"):
        gather(EXPERIMENT, of, store)
    for i, cell in enumerate(EXPERIMENT.cells(of)):
        record = {"commit": "c" if i else "d", "dirty": False, "threads": 1, "packages": {"torch": "2"}}
        store.save(cell, EXPERIMENT.compute(cell), record | {"wall_time": 1.5, "date": f"2026-01-{i + 1:02}"})
    attrs = gather(EXPERIMENT, of, store).attrs
    assert (attrs["experiment"], attrs["version"], attrs["draw"], attrs["cells"]) == ("sums", 4, 2, 9)
    assert attrs["wall_time"] == 9 * 1.5
    first, rest = attrs["provenance"]
    assert (first["commit"], first["cells"]) == ("d", {"limit-seed0": 1.5})
    assert (rest["commit"], rest["from"], rest["to"], len(rest["cells"])) == ("c", "2026-01-02", "2026-01-09", 8)
    assert (rest["dirty"], rest["threads"], rest["packages"]) == (False, 1, {"torch": "2"})


def test_the_example_in_the_docstring_runs() -> None:
    """With the imports and the two names that it takes for granted."""
    source = inspect.getdoc(module)
    assert source
    example = textwrap.dedent(source[source.index("    @dataclass") : source.rindex("The joined dataset")])
    names: dict[str, Any] = {name: getattr(module, name) for name in ("Experiment", "Ensemble", "Cell", "Progress")}
    names |= {"Config": Config, "CLAIMS": (), "POINTS": 4, "dataclass": dataclass, "ClassVar": ClassVar, "xr": xr}
    names |= {"Iterator": Iterator, "__name__": __name__}
    exec("from replication.datasets import *\nfrom replication.network import Network", names)
    exec("from replication.tangent import tangent_kernel\n" + example, names)
    drift = names["EXPERIMENT"]
    of = config(widths=[8], seeds=[0, 1])
    of.t = 1.0  # type: ignore[attr-defined]
    of.seeds = 2  # type: ignore[assignment]
    joined = drift.join(of, [drift.compute(cell) for cell in drift.cells(of)])
    assert joined.theta.dims == ("network", "row", "column")
    assert joined.width.values.tolist() == [8, 8]
