"""Charts as SVG inside the page; colours are classes of page.css, which has a light and a dark theme.

Series differ in colour (`s0` to `s7`) and, past the colours, in dashes (`d1`, `d2`). Values that are not finite are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from rlvr.analysis.report.formatting import number, visible
from rlvr.analysis.report.variants import Point

_WIDTH, _HEIGHT = 440.0, 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 14.0, 20.0, 38.0
_MARK_ROOM = 22.0
_COLOURS = 8
_MOST_POINTS = 480
"""Points in a chart; with more, several steps are averaged to a point."""
_MOST_BARS = 60
_DOTS = 24
"""Up to so many points of a curve are marked by dots."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve."""

    name: str
    points: Sequence[Point]
    band: str = ""
    """Meaning of the band between low and high; empty: no band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A step at which something changed."""

    step: int
    number: int | None
    """Its number in the table of changes; None for a refused edit, which charts do not show."""
    text: str
    runs: Sequence[str]
    """Names of the runs in which it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Maps data to positions on the picture, and draws the axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    share: bool
    """Percent, from 0 to 1."""

    def across(self, step: float) -> float:
        low, high = self.x
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((step - low) / (high - low) if high > low else 0.5)

    def down(self, value: float) -> float:
        low, high = self.y
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)

    def within(self, value: float) -> float:
        """The value, or the end of the axis that it lies beyond."""
        return max(min(value, self.y[1]), self.y[0])

    def axes(self) -> Markup:
        """Grid lines and labels."""
        drawn = Markup("")
        for value in _ticks(*self.y, whole=False):
            y = self.down(value)
            label = f"{value:.0%}" if self.share else f"{value:,g}"
            drawn += Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>').format(_LEFT, y, _WIDTH - _RIGHT)
            drawn += Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>').format(_LEFT - 6, y + 4, label)
        for value in _ticks(*self.x, whole=True):
            x = self.across(value)
            drawn += Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{:,g}</text>').format(x, _HEIGHT - 19, value)
        base = Markup('<path class="axis" d="M{:.1f} {:.1f}H{:.1f}"/>').format(_LEFT, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT)
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        return drawn + base + Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">step</text>').format(middle, _HEIGHT - 4)

    def marks(self, marks: Iterable[Mark]) -> Markup:
        """A line each, with its number unless it would touch the one before."""
        drawn, free = Markup(""), 0.0
        for mark in marks:
            if mark.number is None or not self.x[0] <= mark.step <= self.x[1]:
                continue
            x = self.across(mark.step)
            shown = mark.number if x >= free else ""
            free = x + _MARK_ROOM if x >= free else free
            drawn += Markup(
                '<g class="mark"><title>{2}</title><path d="M{0:.1f} {3}V{4}"/>'
                '<text x="{0:.1f}" y="{5}" text-anchor="middle">{1}</text></g>'
            ).format(x, shown, visible(mark.text), _TOP, _HEIGHT - _BOTTOM, _TOP - 5)
        return drawn


def line_chart(title: str, lines: Sequence[Line], *, marks: Sequence[Mark] = (), share: bool = False) -> Markup:
    """Curves over steps, above their bands; a curve without points only uses up a colour."""
    points = [point for line in lines for point in line.points]
    steps = [point.step for point in points]
    ends = [value for line in lines for p in line.points for value in ((p.low, p.high) if line.band else (p.mean,))]
    y = (0.0, 1.0) if share else _around(min(ends), max(ends))
    frame = Frame(x=(min(steps), max(steps)), y=y, share=share)
    bands, curves = Markup(""), Markup("")
    drawn = [(at, line) for at, line in enumerate(lines) if line.points]
    for at, line in drawn:
        thin = _thinned(line.points, max(_MOST_POINTS // max(len(lines), 3), 1))
        low = [(point.step, frame.within(point.low)) for point in thin]
        high = [(point.step, frame.within(point.high)) for point in thin]
        if line.band and low != high:
            outline = _path(frame, [*high, *reversed(low)])
            bands += Markup('<path class="band f{}" d="{}Z"/>').format(at % _COLOURS, outline)
        curves += _curve(frame, line.name, thin, at, share)
    told = "; ".join(f"{line.name}: {number(line.points[-1].mean, share)} at the end" for _, line in drawn)
    return _svg(f"{title}, by step. {told}", frame.axes() + bands + frame.marks(marks) + curves)


def _curve(frame: Frame, name: str, points: Sequence[Point], at: int, share: bool) -> Markup:
    kind = f"s{at % _COLOURS} d{at // _COLOURS % 3}"
    drawn = Markup('<path class="line {}" d="{}"/>').format(kind, _path(frame, [(p.step, p.mean) for p in points]))
    if len(points) <= _DOTS:
        for point in points:
            place = (frame.across(point.step), frame.down(point.mean))
            told = f"{visible(name)}, step {point.step:g}: {number(point.mean, share)}"
            dot = Markup('<circle class="f{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>')
            drawn += dot.format(at % _COLOURS, *place, told)
    return drawn


def stack_chart(title: str, shares: Mapping[str, Mapping[int, float]], *, marks: Sequence[Mark] = ()) -> Markup:
    """Stacked shares at each step, in the order given; the shares of a step sum to 1.

    With more than 60 steps, a bar is the mean of several.
    """
    steps = sorted({step for of in shares.values() for step in of})
    bars = _parts(steps, _MOST_BARS)
    half = (steps[-1] - steps[0]) / max(len(bars) - 1, 1) / 2 or 0.5
    frame = Frame(x=(steps[0] - half, steps[-1] + half), y=(0.0, 1.0), share=True)
    width = (_WIDTH - _LEFT - _RIGHT) / len(bars)
    filled, drawn = [0.0] * len(bars), Markup("")
    for at, (name, of) in enumerate(shares.items()):
        path = ""
        for bar, among in enumerate(bars):
            value = sum(of.get(step, 0.0) for step in among) / len(among)
            if value > 0:
                top, bottom = frame.down(filled[bar] + value), frame.down(filled[bar])
                path += f"M{_LEFT + bar * width:.1f} {bottom:.1f}V{top:.1f}h{width - min(1.0, width / 8):.1f}V{bottom:.1f}Z"
                filled[bar] += value
        drawn += Markup('<path class="part f{}" d="{}"><title>{}</title></path>').format(at % _COLOURS, path, visible(name))
    return _svg(f"{title}, by step", frame.axes() + drawn + frame.marks(marks))


def swatch(at: int, *, filled: bool = False) -> Markup:
    """The legend sign of series number `at`."""
    if filled:
        width, inner = 14, Markup('<rect class="part f{}" width="14" height="10"/>').format(at % _COLOURS)
    else:
        width, inner = 24, Markup('<path class="line s{} d{}" d="M0 5H24"/>').format(at % _COLOURS, at // _COLOURS % 3)
    return Markup('<svg class="swatch" aria-hidden="true" width="{0}" height="10" viewBox="0 0 {0} 10">{1}</svg>').format(
        width, inner
    )


def _svg(label: str, inner: Markup) -> Markup:
    return Markup('<svg class="chart" role="img" viewBox="0 0 {:g} {:g}" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, visible(label), inner
    )


def _path(frame: Frame, points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{frame.across(step):.1f} {frame.down(value):.1f}" for step, value in points)


def _thinned(points: Sequence[Point], most: int) -> list[Point]:
    names = [field.name for field in fields(Point)]
    parts = _parts(points, most)
    return [Point(**{name: sum(getattr(p, name) for p in part) / len(part) for name in names}) for part in parts]


def _parts(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """At most so many parts of the items, alike in size."""
    n = min(len(items), most)
    return [items[len(items) * at // n : len(items) * (at + 1) // n] for at in range(n)]


def _around(low: float, high: float) -> tuple[float, float]:
    """Limits of an axis: includes 0 if it is near, and leaves room around a constant."""
    if low >= 0 and low < high * 0.6:
        low = 0.0
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low if low == 0 and high > 0 else low - room), high + room


def _ticks(low: float, high: float, *, whole: bool) -> list[float]:
    values = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    return [float(value) for value in values if low <= value <= high and (not whole or float(value).is_integer())]
