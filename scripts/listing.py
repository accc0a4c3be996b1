"""The list of experiments that ``python scripts/run.py`` prints. Imports no torch."""

from pathlib import Path
from typing import Any

from compose import presets
from omegaconf import OmegaConf

GUIDE = Path(__file__).parents[1] / "replication" / "study" / "guide.yaml"


HELP = """\
Replicate an experiment of the Neural Tangent Kernel paper: config -> cells -> figure -> claims.

  python scripts/run.py +exp=fig1            at the paper's widths
  python scripts/run.py +exp=ci/fig1         at reduced width, in seconds
  python scripts/run.py +exp=literal/fig1    by the paper's own procedure, step by step

Any key of a preset can be changed: python scripts/run.py +exp=fig1 'widths=[100,1000]' network.beta=1
The presets are the files of conf/exp; python scripts/run.py alone lists them. quiet=true prints less.

  --cfg job       print the settings and compute nothing
  -m              a sweep: every combination of the values between commas
  --hydra-help    all that Hydra, which reads the settings, takes"""


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
