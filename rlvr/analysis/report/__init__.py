"""What a run or a sweep came to, for a human: `rlvr report DIR` writes DIR/report.html.

records.py    what is on disk: configuration, metrics, summary, edits of the rules
history.py    what the rollout log says of every step: verdicts by reason, pass rates, rules in force
variants.py   the jobs of a sweep that differ only by seed, and numbers over them
charts.py     which curves are shown
svg.py        how they are drawn
tables.py     the tables
text.py       texts and numbers as they are shown
page.py       the page, from page.html and page.css
picture.py    curves.png
"""

from rlvr.analysis.report.page import write_report
from rlvr.analysis.report.picture import plot_curves

__all__ = ["plot_curves", "write_report"]
