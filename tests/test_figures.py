"""figures.py: what it refuses, and that the published figures and tables are those of the published data."""

import io
import re
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image
from scripts_fixtures import ROOT, copy_repository, files, redraw


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copy_repository(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--publish", "fig1"], 1, r"error: fig1: \S+ is not in \S+: run `python scripts/run.py \+exp=fig1` first"),
        (["--publish", "ci/fig1"], 2, "error: ci/fig1: a reduced preset is not published"),
        (["--publish", "gif1"], 2, r"error: gif1: choose one of .*ci/fig1, .*\bfig1, .*\bliteral/fig1.*"),
        ([], 1, r"error: there are no data in \S+figures"),
    ],
)
def test_figures_refuses(copy: Path, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    before = files(copy)
    done = redraw(copy, *arguments, "--results", tmp_path / "empty")
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(message + "\n", done.stderr)
    assert files(copy) == before
    assert not (tmp_path / "empty").exists()


def test_one_preset_without_data_is_refused(copy: Path) -> None:
    done = redraw(copy, "fig1")
    assert (done.returncode, done.stderr) == (2, "error: fig1 has no published data; presets that have: none\n")
    assert not (copy / "results").exists()


@pytest.mark.skipif(not list((ROOT / "figures").rglob("*.nc")), reason="no data are published yet")
def test_published_tables_are_those_of_the_published_data(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And there is a file of each figure; what it shows is not drawn again: test_ci_presets.py draws every figure."""
    image = io.BytesIO()
    Image.new("RGB", (1, 1)).save(image, "PNG")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # one process, this one, in which nothing is drawn
    monkeypatch.setattr(Figure, "savefig", lambda figure, content, **_: content.write(image.getvalue()))
    for path in [*(ROOT / "figures").rglob("*.nc"), *(ROOT / "figures").glob("*.json")]:
        target = copy / "figures" / path.relative_to(ROOT / "figures")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    done = redraw(copy, "--publish")
    assert done.returncode == 0
    left = [
        Path(line.partition(" is not redrawn")[0]).relative_to(copy).with_suffix("").as_posix()
        for line in done.stdout.splitlines()
        if " is not redrawn" in line
    ]
    for name in ("README.md", "docs/results.md", "docs/speed.md", "figures/CLAIMS.md"):
        assert (copy / name).read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8")
    drawn = {path.relative_to(copy).as_posix() for path in (copy / "figures").rglob("*.p*")}
    published = {path.relative_to(ROOT).as_posix() for path in (ROOT / "figures").rglob("*.p*")}
    assert drawn == {path for path in published if not path.startswith(tuple(left))}
