"""Line plots as SVG, for people and for screen readers: a title, a description, and the numbers beside it as a table.

Does not own what is plotted (`report.py`, `compare.py`, `federate.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from headrace.load.report_style import COLOURS

_WIDTH, _HEIGHT = 860.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 14.0, 12.0, 34.0
_POINTS = 400  # of one line: more than a screen shows
_ROWS = 24  # of a table of numbers

Points = Sequence[tuple[float, float]]


class Line(NamedTuple):
    """One line. `gap` is the distance in x beyond which it is broken."""

    name: str
    points: Points
    gap: float = math.inf


class Scale(NamedTuple):
    """From values to a share of the axis, with where to write what."""

    place: Callable[[float], float]
    ticks: list[tuple[float, str]]


def linear(low: float, high: float, *, count: int = 5) -> Scale:
    """Ticks at 1, 2 or 5 times a power of ten."""
    high = high if high > low else low + 1
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    ticks = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return Scale(lambda value: (value - low) / (high - low), [(each, number(each)) for each in ticks])


def logarithmic(low: float, high: float) -> Scale:
    """Ticks at powers of ten; nothing lies below `low`, which is above 0."""
    first, last = math.floor(math.log10(low)), max(math.floor(math.log10(low)) + 1, math.ceil(math.log10(high)))
    ticks = [(10.0**each, number(10.0**each)) for each in range(first, last + 1)]
    return Scale(lambda value: (math.log10(max(value, 10.0**first)) - first) / (last - first), ticks)


def percentiles(highest: float) -> Scale:
    """Each nine takes as much room as the one before."""
    nines = max(1, math.ceil(-math.log10(1 - min(highest, 99.99999) / 100) - 1e-9))
    ticks = [(100 - 100 * 10**-each, f"{100 - 100 * 10**-each:.10g} %") for each in range(nines + 1)]
    return Scale(lambda value: min(1.0, -math.log10(max(1e-9, 1 - min(value, 99.9999999) / 100)) / nines), ticks)


def number(value: float) -> str:
    """As short as it can be read."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if abs(value) >= size:
                return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


class Plot(NamedTuple):
    """What a figure shows. `marks` are moments with words, `early` is where nothing is judged yet."""

    title: str
    lines: Sequence[Line]
    x: Scale
    y: Scale
    x_name: str
    y_name: str
    marks: Sequence[tuple[float, str]] = ()
    early: float = 0.0

    def html(self) -> str:
        """The figure with its legend and its table."""
        drawn = [line for line in self.lines if line.points]
        if not drawn:
            return ""
        legend = "".join(
            f'<li><i style="background:var(--c{index % COLOURS})"></i>{escape(line.name)}</li>'
            for index, line in enumerate(drawn)
        )
        return (
            f"<figure><figcaption>{escape(self.title)}</figcaption><div class='wide'>{self._svg(drawn)}</div>"
            f'<ul class="legend">{legend}</ul>{self._table(drawn)}</figure>'
        )

    def _svg(self, drawn: Sequence[Line]) -> str:
        names = ", ".join(line.name for line in drawn)
        label = escape(f"{self.title}: {self.y_name} of {names}. The numbers are in the table below.", quote=True)
        parts = [f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{label}">']
        if self.early > 0:
            width = max(0.0, self._x(self.early) - _LEFT)
            parts.append(
                f'<rect class="early" x="{_LEFT:g}" y="{_TOP:g}" width="{width:.1f}" '
                f'height="{_HEIGHT - _TOP - _BOTTOM:g}"/>'
            )
        for value, words in self.y.ticks:
            y = self._y(value)
            parts.append(f'<line class="grid" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{escape(words)}</text>')
        for value, words in self.x.ticks:
            x = self._x(value)
            anchor = "middle" if x < _WIDTH - 40 else "end"
            parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 18:g}" text-anchor="{anchor}">{escape(words)}</text>')
        parts.append(
            f'<text x="{(_LEFT + _WIDTH) / 2:g}" y="{_HEIGHT - 4:g}" text-anchor="middle">{escape(self.x_name)}</text>'
            f'<text x="12" y="{_HEIGHT / 2:g}" text-anchor="middle" '
            f'transform="rotate(-90 12 {_HEIGHT / 2:g})">{escape(self.y_name)}</text>'
        )
        for at, words in self.marks:
            x = self._x(at)
            parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP:g}" y2="{_HEIGHT - _BOTTOM:g}">')
            parts.append(f"<title>{escape(words)}</title></line>")
        for index, line in enumerate(drawn):
            parts.append(f'<path d="{self._path(line)}" stroke="var(--c{index % COLOURS})"/>')
        return "".join((*parts, "</svg>"))

    def _path(self, line: Line) -> str:
        steps: list[str] = []
        last = -math.inf
        for x, y in thinned(line.points):
            word = "L" if steps and x - last <= line.gap else "M"
            place = f"{self._x(x):.1f} {self._y(y):.1f}"
            steps.append(f"{word}{place}")
            last = x
        if len(steps) == 1:
            steps.append("h2")  # a point alone is seen too
        return "".join(steps)

    def _x(self, value: float) -> float:
        return _LEFT + min(1.0, max(0.0, self.x.place(value))) * (_WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - min(1.0, max(0.0, self.y.place(value))) * (_HEIGHT - _TOP - _BOTTOM)

    def _table(self, drawn: Sequence[Line]) -> str:
        places = sorted({x for line in drawn for x, _ in line.points})
        chosen = places[:: max(1, math.ceil(len(places) / _ROWS))]
        values = [dict(line.points) for line in drawn]
        rows = [[f"{x:g}", *(number(found[x]) if x in found else "" for found in values)] for x in chosen]
        return (
            f"<details><summary>The numbers: {escape(self.y_name)}, {len(chosen)} of {len(places)} moments</summary>"
            f"{table([self.x_name, *(line.name for line in drawn)], rows)}</details>"
        )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = ()) -> str:
    """An HTML table of plain text; columns in `words` hold sentences."""
    tops = "".join(
        f'<th scope="col"{" class=words" if index in words else ""}>{escape(each)}</th>'
        for index, each in enumerate(head)
    )
    lines = "".join(
        "<tr>"
        + "".join(
            f'<td class="words">{escape(cell)}</td>' if index in words else f"<td>{escape(cell)}</td>"
            for index, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{tops}</tr></thead><tbody>{lines}</tbody></table></div>'


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most so many points as can be seen: of each bucket the highest, so that no peak is lost."""
    if len(points) <= _POINTS:
        return list(points)
    size = math.ceil(len(points) / _POINTS)
    return [max(points[start : start + size], key=lambda each: each[1]) for start in range(0, len(points), size)]
