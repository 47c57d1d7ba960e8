"""What the report draws and computes: curves, stacks, intervals, colours."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from rlvr.analysis.report import plot_curves
from rlvr.analysis.report.svg import Line, line_chart, stack_chart
from rlvr.analysis.report.variants import Point, estimate, t_quantile


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 500), st.floats(-1e6, 1e6)), max_size=30), min_size=1, max_size=20))
def test_curves_stay_in_their_picture(curves: list[list[tuple[int, float]]]) -> None:
    lines = [
        Line(name="<a>", points=[Point(step=s, mean=v, low=v - 1, high=v + 1) for s, v in sorted(c)], band="b") for c in curves
    ]
    if not any(curves):
        return
    drawn = etree.fromstring(line_chart("title", lines))
    width, height = map(float, drawn.get("viewBox").split()[2:])
    outlines = drawn.xpath("//path[contains(@class, 'line') or contains(@class, 'band')]/@d")
    assert len(outlines) >= sum(map(bool, curves))
    for place in re.findall(r"(-?[\d.]+) (-?[\d.]+)", " ".join(outlines)):
        assert 0 <= float(place[0]) <= width
        assert 0 <= float(place[1]) <= height


def test_intervals() -> None:
    """Quantiles as printed in any table of Student's t."""
    printed = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 10: 2.228, 30: 2.042, 120: 1.980}
    assert {df: round(t_quantile(df), 3) for df in printed} == printed
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.n, found.mean, found.half) == (3, 2.0, pytest.approx(4.302653 / math.sqrt(3)))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_in_light_and_dark() -> None:
    """4.5 for text and 3 for what a chart draws: WCAG 2.2, success criteria 1.4.3 and 1.4.11."""
    style = (files("rlvr.analysis.report") / "page.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in style.split("prefers-color-scheme: dark")]
    assert [len(theme) for theme in themes] == [15, 15]
    for theme in themes:
        for name, colour in theme.items():
            for ground in ("ground", "card"):
                light, dark = sorted((luminance(colour), luminance(theme[ground])), reverse=True)
                least = (
                    4.5
                    if name in ("text", "muted", "link", "warn")
                    else 3.0
                    if name.startswith("c") and name != "card"
                    else 1.0
                )
                assert (light + 0.05) / (dark + 0.05) >= least, (name, colour, ground)


def test_the_picture_of_a_run_whose_rules_come_and_go(tmp_path: Path) -> None:
    rows = [{"step": 1, "reward/mean": 0.5, "reward/std": 0.1, "rollout/length": 3, "rule/a/score": 1.0}]
    rows += [{"step": 2, "reward/mean": 0.5, "rule/b_$x^/score": 0.5, "rules/changes": 2}, {"step": 3, "eval/accuracy": 0.5}]
    for name, some in (("some", rows), ("none", [])):
        plot_curves(some, title="a $ title", forced=None, path=tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("n_steps", [1, 7, 60, 1000])
def test_stacks_fill_their_picture(n_steps: int) -> None:
    """Each part is as high as its share, a bar a step, or several steps."""
    shares = {"<all>": dict.fromkeys(range(1, n_steps + 1), 0.25), "late": dict.fromkeys(range(1, n_steps + 1), 0.75)}
    drawn = etree.fromstring(stack_chart("title", shares))
    outlines = drawn.xpath("//path[contains(@class, 'part')]/@d")
    bars = [re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)h[\d.]+V[\d.]+Z", outline) for outline in outlines]
    assert len(bars[0]) == len(bars[1]) == min(n_steps, 60)
    lower, upper = ([float(bottom) - float(top) for bottom, top in part] for part in bars)
    assert upper == pytest.approx([3 * height for height in lower], abs=0.3), "places have one decimal"
    assert [bottom for bottom, _ in bars[1]] == [top for _, top in bars[0]], "one stands on the other"
    assert [title.text for title in drawn.xpath("//path/title")] == ["<all>", "late"]
