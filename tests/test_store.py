"""What is read from the store is what was written, in the same bytes everywhere."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from store_fixtures import Cell, assert_same, dataset, in_fresh_process

from replication.study.store import Store, UnwritableStoreError, read_dataset, write_dataset


class TestRoundTrip:
    def test_values_types_and_attributes(self, store: Store) -> None:
        data = dataset()
        before = data.copy(deep=True)
        path = store.save(Cell(), data, {"device": "cpu", "dirty": None})
        xr.testing.assert_identical(data, before)
        loaded = store.load(Cell())
        assert loaded is not None
        assert_same(loaded, data)
        assert loaded.attrs["provenance"] == {"device": "cpu", "dirty": None}
        assert loaded.attrs["cell"]["target"] is None
        assert loaded.attrs["cell"]["solver"] == {"learning_rate": 1}
        path.unlink()  # in memory: the values outlive the file
        assert float(loaded.theta.sum()) == float(data.theta.sum())
        assert_same(read_dataset(store.save(Cell(), loaded, {})), data)

    def test_is_a_compressed_netcdf_file_to_others(self, store: Store) -> None:
        data = xr.Dataset({"theta": ("x", np.zeros(10**5))}, attrs={"flag": True, "title": "NTK"})
        path = store.save(Cell(), data, {})
        assert path.stat().st_size < 50_000
        with xr.open_dataset(path) as foreign:
            xr.testing.assert_equal(foreign, data)
            assert foreign.attrs["flag"] == "true"
            assert foreign.attrs["title"] == "NTK"
            assert json.loads(foreign.attrs["cell"])["width"] == 500

    def test_missing_and_load_of_nothing(self, store: Store) -> None:
        cells = [Cell(width=n) for n in (3, 1, 2)]
        assert store.missing(cells) == cells
        assert store.load(cells[0]) is None
        store.save(cells[1], dataset(), {})
        assert store.missing(cells) == [cells[0], cells[2]]

    @pytest.mark.parametrize(
        "data",
        [
            xr.Dataset(attrs={"x": object()}),
            xr.Dataset({"a": ("x", [1.0], {"bytes": b"1"})}),
            xr.Dataset({"a": np.datetime64("2018-06-20", "ns")}),
        ],
    )
    def test_refuses_what_would_not_come_back(self, store: Store, data: xr.Dataset) -> None:
        with pytest.raises(TypeError):
            store.save(Cell(), data, {})
        assert not [path for path in store.root.rglob("*") if path.is_file()]


def copy_dataset(source: str, target: str) -> None:
    write_dataset(target, read_dataset(source))


class TestWritable:
    def test_creates_the_root(self, store: Store) -> None:
        store.check_writable()
        assert store.root.is_dir()
        assert not list(store.root.iterdir())

    @pytest.mark.parametrize("root", ["file", "file/below"])
    def test_a_file_in_the_way(self, tmp_path: Path, root: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UnwritableStoreError) as caught:
            Store(tmp_path / root).check_writable()
        assert str(tmp_path / root) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_folder_that_refuses(self) -> None:
        with pytest.raises(UnwritableStoreError, match=r"'/proc/.*cannot be written"):
            Store("/proc/self").check_writable()


class TestCommittedFiles:
    def test_same_bytes_in_another_process_at_another_time(self, tmp_path: Path) -> None:
        here = tmp_path / "here.nc"
        write_dataset(here, dataset())
        time.sleep(1.1)  # a time stamp, were there one, would count seconds
        there = tmp_path / "there.nc"
        in_fresh_process(copy_dataset, here, there, PYTHONHASHSEED="1")
        assert there.read_bytes() == here.read_bytes()
        assert_same(read_dataset(here), dataset())

    def test_order_of_attributes_and_origin_do_not_matter(self, tmp_path: Path) -> None:
        data = dataset()
        reordered = data.copy()
        reordered.attrs = dict(reversed(data.attrs.items()))
        reordered.encoding = {"unlimited_dims": {"gamma"}}
        reordered.variables["theta"].encoding = {"zlib": True, "complevel": 9}
        write_dataset(tmp_path / "a.nc", data)
        write_dataset(tmp_path / "b.nc", reordered)
        assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()
        write_dataset(tmp_path / "b.nc", data.assign_attrs(none=0))
        assert (tmp_path / "a.nc").read_bytes() != (tmp_path / "b.nc").read_bytes()


def test_many_strings_take_little_room(tmp_path):
    names = np.array(["main", "ünequal-64-512", ""] * 20_000)
    dataset = xr.Dataset({"variant": ("network", names)}, coords={"hidden": ("network", names[::-1])})
    write_dataset(tmp_path / "a.nc", dataset)
    assert read_dataset(tmp_path / "a.nc").identical(dataset)
    assert (tmp_path / "a.nc").stat().st_size < 60_000


def test_what_is_read_is_written_again_in_the_same_bytes(tmp_path: Path) -> None:
    """Strings, which come back as objects, above all: those of variable length would take ten times the room."""
    texts = ["narrow" if i % 3 else "wide" for i in range(5000)]
    data = xr.Dataset(
        {"x": ("network", np.arange(5000.0)), "variant": ("network", texts), "few": ("place", ["here", "there"])},
        coords={"label": ("network", texts), "place": ["a", "bc"]},
        attrs={"claims": ["a.b"]},
    )
    write_dataset(tmp_path / "a.nc", data)
    write_dataset(tmp_path / "b.nc", read_dataset(tmp_path / "a.nc"))
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()
