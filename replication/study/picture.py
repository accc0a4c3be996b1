"""A claim as pictures (SVG): the interval of each statistic, its allowed range, controls and confirming draws."""

import math
from collections.abc import Sequence
from html import escape

from .record import Decision, Entry
from .statistics import number

WIDTH, HEIGHT, MARGIN = 340, 54, 10
_AXIS, _TOP = 34, 6

Bounds = tuple[float | None, float | None]


def pictures(entry: Entry) -> list[str]:
    """An SVG for each statistic of a claim."""
    return [picture(entry, index) for index in range(len(entry["criterion"]))]


def picture(entry: Entry, index: int) -> str:
    """The allowed range is shaded; intervals of other draws stand above that of draw 0; controls are crosses."""
    name, *bounds = entry["criterion"][index]
    draws = {draw: decision["statistics"][index] for draw, decision in entry["draws"].items()}
    controls = _controls(entry["draws"].get("0"), index)
    scale = Scale([*bounds, *(value for numbers in draws.values() for value in numbers)], [*controls.values()])
    low, high = (scale.end(side, bound) for side, bound in enumerate(bounds))
    parts = [f'<rect class="allowed" x="{low:.1f}" y="{_TOP}" width="{high - low:.1f}" height="{_AXIS - _TOP}"/>']
    parts.append(f'<line class="axis" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{_AXIS}" y2="{_AXIS}"/>')
    for bound in bounds:
        if bound is not None:
            x = scale(bound)
            anchor = "start" if x < 60 else "end" if x > WIDTH - 60 else "middle"
            parts.append(f'<text x="{x:.1f}" y="{_AXIS + 14}" text-anchor="{anchor}">{number(bound)}</text>')
    for text, value in controls.items():
        if value is not None:
            x, y = scale(value), _AXIS - 7
            title = f"<title>{escape(f'{text}: {number(value)}')}</title>"
            parts.append(f'<path class="control" d="M{x - 4:.1f} {y - 4}l8 8m0 -8l-8 8">{title}</path>')
    rows = [draw for draw in draws if draw != "0"] + [draw for draw in draws if draw == "0"]
    for row, draw in enumerate(rows):
        estimate, lowest, highest = draws[draw]
        y = _AXIS - 7 if draw == "0" else _TOP + 4 + 7 * row
        if estimate is None:
            continue
        interval = "" if lowest is None or highest is None else f" [{number(lowest)}, {number(highest)}]"
        title = f"<title>draw {draw}: {number(estimate)}{interval}</title>"
        kind = "own" if draw == "0" else "draw"
        first, last = scale.end(0, lowest), scale.end(1, highest)
        parts.append(f'<line class="{kind}" x1="{first:.1f}" x2="{last:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="{kind}" cx="{scale(estimate):.1f}" cy="{y}" r="3.2">{title}</circle>')
    label = escape(f"{name}: the allowed range, the interval and the negative controls", quote=True)
    body = "".join(parts)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg {size} role="img" aria-label="{label}">{body}</svg>'


class Scale:
    """From numbers to pixels: logarithmic if all numbers are positive and far apart, else linear.

    The picture shows all of ``values``, and of ``others`` those within three times their span; the rest is drawn at the
    edge.
    """

    def __init__(self, values: Sequence[float | None], others: Sequence[float | None]):
        own = [value for value in values if value is not None]
        more = [value for value in others if value is not None]
        self.log = min([*own, *more], default=0.0) > 0 and max([*own, *more]) / min([*own, *more]) > 30
        mapped = sorted(self._map(value) for value in own) or [0.0, 1.0]
        reach = max(mapped[-1] - mapped[0], 1e-12 + 0.1 * abs(mapped[-1]))
        near = [y for y in map(self._map, more) if mapped[0] - 3 * reach <= y <= mapped[-1] + 3 * reach]
        self.low, self.high = min([*mapped, *near]), max([*mapped, *near])
        pad = 0.08 * max(self.high - self.low, reach)
        self.low, self.high = self.low - pad, self.high + pad

    def _map(self, value: float) -> float:
        return math.log(value) if self.log else value

    def __call__(self, value: float) -> float:
        part = (self._map(value) - self.low) / (self.high - self.low)
        return MARGIN + min(max(part, 0.0), 1.0) * (WIDTH - 2 * MARGIN)

    def end(self, side: int, value: float | None) -> float:
        """The pixel of an end of an interval; the edge of the picture if there is no bound."""
        return (MARGIN, WIDTH - MARGIN)[side] if value is None else self(value)


def _controls(decision: Decision | None, index: int) -> dict[str, float | None]:
    return {text: numbers[index][0] for text, numbers in decision["controls"].items()} if decision else {}
