"""The report of a run or a sweep: `rlvr report DIR` writes DIR/report.html.

run_record.py       what is on disk: configuration, metrics, summary, edits of the rules
verdict_history.py  verdicts by reason, pass rates and active rules by step, from the rollout log
samples.py          rollouts worth reading
variants.py         the jobs of a sweep that differ only by seed, and statistics over them
charts.py           which curves are shown
svg.py              how they are drawn
tables.py           the tables
formatting.py       text and numbers as the page shows them
page.py             the page, from page.html and page.css
curves_png.py       curves.png
"""

from rlvr.analysis.report.curves_png import plot_curves
from rlvr.analysis.report.page import write_report, write_run_report

__all__ = ["plot_curves", "write_report", "write_run_report"]
