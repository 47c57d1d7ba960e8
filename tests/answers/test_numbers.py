"""Numbers as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.answers.numbers import decimals_of, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72),
        ("072", 72),
        ("-3", -3),
        ("\u22123", -3),  # minus sign
        ("+3", 3),
        ("1,234,567", 1234567),
        ("1{,}234", 1234),
        ("1\\,234", 1234),
        ("$5", 5),
        ("\\$5.50", Fraction(11, 2)),
        ("-$5", -5),
        ("$72$", 72),
        ("72.", 72),
        ("72.0", 72),
        (".5", Fraction(1, 2)),
        ("50%", 50),
        ("50\\%", 50),
        ("1/2", Fraction(1, 2)),
        ("-1 / 2", Fraction(-1, 2)),
        ("\\frac{1}{2}", Fraction(1, 2)),
        ("-\\dfrac{1}{2}", Fraction(-1, 2)),
        ("\\frac12", Fraction(1, 2)),
        ("\uff17\uff12", 72),  # full-width digits
        ("\u0667\u0662", 72),  # Arabic-Indic digits
        ("\U0001d7d5\U0001d7d0", 72),  # mathematical bold digits
        ("\u00bd", Fraction(1, 2)),  # one half
        ("9" * 150, 10**150 - 1),
        ("2\\frac{3}{4}", Fraction(11, 4)),
        ("-137 \\frac{1}{2}", Fraction(-275, 2)),
        ("2 3/4", Fraction(11, 4)),
        ("1.5e-3", Fraction(3, 2000)),
        ("1.5 \\times 10^{3}", 1500),
        ("3 \u00d7 10^5", 300000),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("-.\\bar{3}", Fraction(-1, 3)),
        ("11,\\! 111,\\! 100", 11111100),
        ("1 234 567", 1234567),
        # not numbers
        ("1, 234", None),
        ("2\\frac{5}{2}", None),
        ("1e999", None),
        ("12 345 6", None),
        ("", None),
        ("seven", None),
        ("12 cm", None),
        ("3 4", None),
        ("3\\,4", None),
        ("1\\!234", 1234),
        ("1,\\!234", 1234),
        ("2\u00bd", Fraction(5, 2)),  # a mixed number, not 21/2
        ("10\u00b2", None),  # a power, not 102
        ("x\u2082", None),
        ("x=1=2=5", None),
        ("1,23", None),
        ("1/0", None),
        ("1/2/3", None),
        ("1e5", 100000),
        ("--5", None),
        ("9^{9^9}", None),
        ("9" * 300, None),
        ("nan", None),
        ("inf", None),
        ("0x10", None),
        ("1_000", None),
        ("__import__('os')", None),
    ],
)
def test_parse_number(text: str, value: object) -> None:
    assert parse_number(text) == value


@given(st.integers(), st.integers(0, 6))
def test_decimals_are_exact(digits: int, places: int) -> None:
    value = Fraction(digits, 10**places)
    text = f"{value.numerator / value.denominator:.{places}f}" if abs(digits) < 10**9 else str(digits)
    expected = value if abs(digits) < 10**9 else Fraction(digits)
    assert parse_number(text) == expected
    assert decimals_of(text) == (places if abs(digits) < 10**9 else 0)
