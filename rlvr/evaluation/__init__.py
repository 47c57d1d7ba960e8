"""Evaluation: sampling and scoring, metrics, pass@k and maj@k, confidence intervals, evaluation-only rules."""
