"""The list of experiments that ``python scripts/run.py`` prints. Imports no torch."""

from pathlib import Path
from typing import Any

from compose import presets
from omegaconf import OmegaConf

GUIDE = Path(__file__).parents[1] / "replication" / "study" / "guide.yaml"


def listing() -> str:
    """Name, place in the paper, minutes on two idle cores, memory in GiB and question of each preset."""
    guide: Any = OmegaConf.to_container(OmegaConf.load(GUIDE))
    lines = ["Experiments, to run with: python scripts/run.py +exp=NAME", ""]
    for about in guide.values():
        for name, (minutes, memory) in about["cost"].items():
            room = "" if memory is None else f"{memory:5.1f} GiB"
            lines.append(f"  {name:17} {about['place']:16} {minutes:4g} min {room}".rstrip())
        lines.append(f"      {about['question']}")
    reduced = ", ".join(name for name in presets() if name.startswith("ci/"))
    lines += ["", f"Reduced, in half a minute or less: {reduced}"]
    lines += ["Times are those of two idle cores; memory is given where it was measured."]
    lines += ["Every setting can be changed: +exp=NAME --cfg job shows them."]
    return "\n".join(lines)
