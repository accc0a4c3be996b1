"""The store's first promise: the same cell has the same key, and another cell another one."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_fixtures import Cell, Data, Descent, Elsewhere

from replication.study.store import Store, key


class TestKey:
    def test_is_stable(self) -> None:
        # A change here orphans every stored result: bump the experiments' VERSION instead if that is what is meant.
        assert key(Cell()) == "cfd6981b732af0d1"

    @pytest.mark.parametrize(
        "change",
        [
            {"width": 501},
            {"seeds": (1, 0)},
            {"seeds": ()},
            {"beta": 0.1 + 1e-17 + 2e-17},
            {"sigma": "Relu"},
            {"bias": False},
            {"bias": 1},
            {"target": ""},
            {"target": "null"},
            {"solver": Descent(0.5)},
            {"options": {"a": 2.5, "b": 1.5}},
            {"options": {"a": 1.5}},
        ],
        ids=str,
    )
    def test_depends_on_every_field(self, change: dict[str, Any]) -> None:
        assert key(replace(Cell(), **change)) != key(Cell())

    def test_depends_on_no_name_of_a_class(self) -> None:
        """A class that is renamed orphans no store."""

        @dataclass(frozen=True)
        class Renamed:
            learning_rate: float = 1.0

        assert key(replace(Cell(), solver=Renamed())) == key(Cell())

    @pytest.mark.parametrize(
        "change",
        [{"options": {"b": 2.5, "a": 1.5}}, {"width": 500.0}, {"seeds": [0, 1]}, {"solver": Descent(1)}],
        ids=str,
    )
    def test_ignores_how_a_value_is_written(self, change: dict[str, Any]) -> None:
        assert key(replace(Cell(), **change)) == key(Cell())

    def test_ignores_fields_that_bear_on_no_number(self) -> None:
        assert key(Data(folder="/here")) == key(Data(folder=None))
        assert key(Data("other")) != key(Data())
        inside = [key(replace(Cell(), solver=data)) for data in (Data(), Data(folder="/here"), Data("other"))]
        assert inside[0] == inside[1] != inside[2]

    @pytest.mark.parametrize("value", [{1: 2}, {1, 2}, np.float32(1), np.zeros(2), object(), Path(), Descent], ids=type)
    def test_refuses_what_json_would_change(self, value: object) -> None:
        with pytest.raises(TypeError, match="cannot hold"):
            key(replace(Cell(), target=value))  # type: ignore[arg-type]

    def test_refuses_a_cell_that_is_no_dataclass(self) -> None:
        with pytest.raises(TypeError, match="dataclass instance"):
            key({"width": 500})
        with pytest.raises(TypeError, match="dataclass instance"):
            key(Cell)

    def test_path_is_readable(self, store: Store) -> None:
        path = store.path(Cell())
        assert path == store.root / "fig1" / "v3" / f"n=500-relu-{key(Cell())}.nc"
        for folder in ("../fig1", "/fig1", "fig1/", ""):
            with pytest.raises(ValueError, match="names of letters"):
                store.path(Elsewhere(folder))
