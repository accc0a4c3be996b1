"""One module per experiment: ``figures(dataset)`` gives its figures by name; they are drawn from stored data alone."""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import xarray as xr
from matplotlib.figure import Figure

_STYLE = Path(__file__).with_name("paper.mplstyle")


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure."""
    with mpl.style.context(["default", _STYLE]):
        yield


def draw(experiment: str, dataset: xr.Dataset, folder: Path) -> dict[str, Path]:
    """Draw an experiment's figures from its assembled data as PNG and PDF; returns figure name → PNG.

    The same data give the same bytes (with the same matplotlib): no date, no version in the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # It warns that the fonts of matplotlib carry an old date, once for each figure.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    paths = {}
    with style():
        figures: dict[str, Figure] = importlib.import_module(f"{__name__}.{experiment}").figures(dataset)
        for name, figure in figures.items():
            paths[name] = folder / f"{name}.png"
            figure.savefig(paths[name], metadata={"Software": None})
            figure.savefig(folder / f"{name}.pdf", metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return paths
