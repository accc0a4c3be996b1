"""The page on extensions, done as it says: an experiment of one file and one preset computes, draws and decides."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from scripts_fixtures import ROOT

BLOCK = re.compile(r"^<!-- (.*?) -->\n```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_experiment_of_the_page_runs(tmp_path: Path) -> None:
    for name in ("scripts", "conf", "replication"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    *files, (_, command) = BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
    assert [Path(name).suffix for name, _ in files] == [".py", ".yaml"]
    for name, content in files:
        assert not (tmp_path / name).exists()
        assert len(content.splitlines()) <= 200
        (tmp_path / name).write_text(content, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    arguments = [sys.executable, *shlex.split(command)[1:], "tracking=disabled"]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"concentration\.spread +holds", done.stdout), done.stdout
    assert list(tmp_path.glob("results/runs/concentration-*/concentration.png"))
