"""ExactAnswer: which spellings, letters and numbers are the same, and which must not be."""

from __future__ import annotations

import pickle
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled import sampled

from rlvr import Problem, load_rules
from rlvr.answers.spelling import normal_form
from rlvr.verifiers.exact import ExactAnswer

CITIES = {"choices": ["London", "Rome", "Paris", "The Hague"], "answer": "C"}


def judge(text: str, truth: dict[str, Any], **options: Any) -> tuple[float | None, str]:
    verdict = ExactAnswer(**options)(text, Problem(id="p", prompt="q", truth=truth))
    return verdict.score, verdict.reason


def named(text: str, *answers: object, **options: Any) -> tuple[float | None, str]:
    return judge(text, {"answers": list(answers)}, kind="aliases", extract="whole", **options)


def chosen(text: str, truth: dict[str, Any] = CITIES, **options: Any) -> tuple[float | None, str]:
    return judge(text, truth, kind="choice", extract="whole", **options)


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("New York", "New York"),
        ("new york", "NEW YORK"),
        ("The Beatles", "Beatles"),
        ("the  beatles!", "Beatles"),
        ("Beatles", "The Beatles."),
        ("Lord of the Rings", "The Lord of Rings"),
        ('"To Kill A Mockingbird"', "To Kill a Mockingbird"),
        ("Beyonce", "Beyonc\u00e9"),
        ("Beyonce\u0301", "Beyonc\u00e9"),
        ("Beyonc\u00e9", "Beyonce"),
        ("Lodz", "\u0141\u00f3d\u017a"),
        ("\uff30\uff41\uff52\uff49\uff53", "Paris"),  # full-width
        ("J.R.R. Tolkien", "J. R. R. Tolkien"),
        ("JRR Tolkien", "J.R.R. Tolkien"),
        ("U.S.A.", "USA"),
        ("A. A. Milne", "A.A. Milne"),
        ("Rock 'n' Roll", "Rock n Roll"),
        ("O\u2019Brien", "O'Brien"),
        ("don't", "dont"),
        ("Spider-Man", "spider man"),
        ("Simon & Garfunkel", "Simon and Garfunkel"),
        ("snake_case", "snake case"),
        ("**Paris**", "Paris"),
        (r"\text{Paris}", "Paris"),
        (r"\textbf{\text{New York}}", "New York"),
        ("$Paris$", "Paris"),
        ("1,000", "1000"),
        ("1,234,567 people", "1234567 people"),
        ("+5", "5"),
        (".5", "0.5"),
        ("\u22125", "-5"),  # minus sign
        ("- Paris", "Paris"),
        (r"\$5", "$5"),
        ("$-5", "-$5"),
        ("1 / 2", "1/2"),
        (r"\frac{1}{2}", "1/2"),
        ("\u00bd", "1/2"),
        ("\u0667\u0662", "72"),  # Arabic-Indic digits
        ("B-12", "B12"),
        ("c++", "C++"),
        ("5 %", "5%"),
        ("30 \u00b0C", "30\u00b0C"),
        ("1984", 1984),
        ("3.5", 3.5),
        ("Vitamin A.", "vitamin a"),
        ("the The", "The The"),
        ("\u6771\u4eac", "\u6771\u4eac"),
    ],
)
def test_spellings_of_one_answer(text: str, truth: object) -> None:
    assert named(text, truth) == (1.0, "correct")
    assert named(f"<think>\u2026</think> {text}", "nothing", truth) == (1.0, "correct")


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        # punctuation that carries meaning
        ("35", "3.5"), ("3 5", "3.5"), ("3.5", "35"), ("5", "-5"), ("-5", "5"), ("12", "1/2"), ("1 2", "1/2"), ("1/2", "12"),
        ("100", "1,0,0"), ("35", "3,5"), ("1000", "1,00,0"), ("500", "5"),
        ("5", "5%"), ("5", "$5"), ("\u00a35", "$5"), ("$5", "-$5"),
        ("120", "5!"), ("5", "5!"), ("102", "10\u00b2"), ("10 2", "10^2"),
        ("21/2", "2\u00bd"), ("5 10", "5!10"), ("510", "5'10\""),
        ("C", "C++"), ("C", "C#"), ("C++", "C#"), ("C+", "C++"),
        ("x", "-x"), ("30", "30\u00b0"), ("0.5", "5"), ("1.10", "1.1"),
        ("1914", "1914-18"), ("191418", "1914-18"), ("2 > 3", "2 < 3"), ("3", "3+"), ("007", "7"),
        # part of an answer, and lists of candidates
        ("Paris or London or Rome", "Paris"), ("Paris, London", "Paris"), ("Paris London", "Paris"), ("Par", "Paris"),
        ("not Paris", "Paris"), ("The answer is Paris", "Paris"),
        ("A, B", "AB"), ("1 2 3 4 5", "3"), ("Milne", "A. A. Milne"),
        # an article that is one no more
        ("Vitamin", "Vitamin A"), ("USA", "US"), ("Plan B", "Plan A"),
        # marks that are letters
        ("\u0915\u093e", "\u0915\u093f"), ("\u0438", "\u0439"), ("\u304b", "\u304c"),
    ],
)  # fmt: skip
def test_different_answers(text: str, truth: str) -> None:
    assert named(text, truth) == (0.0, "wrong")


def test_accents_can_be_made_to_count() -> None:
    assert named("Beyonce", "Beyonc\u00e9", fold_accents=False) == (0.0, "wrong")
    assert named("Beyonce\u0301", "Beyonc\u00e9", fold_accents=False) == (1.0, "correct")


@pytest.mark.parametrize("text", ["!", "...", "\u200b", "\ud800", "**", "\u00ae", "'"])
@pytest.mark.parametrize("truth", ["!", "the", "???", "Paris"])
def test_nothing_equals_nothing(text: str, truth: str) -> None:
    assert named(text, truth, "London")[0] == 0.0
    assert not named("", truth, "London")[0]


def test_several_boxes_and_several_places() -> None:
    truth = {"answers": ["Paris", "City of Light"]}
    for text, last, unique in [
        (r"\boxed{Paris}", "correct", "correct"),
        (r"\boxed{London} no, \boxed{Paris}", "correct", "ambiguous"),
        (r"\boxed{Paris} no, \boxed{London}", "wrong", "ambiguous"),
        (r"\boxed{Paris}, the \boxed{city of light}", "correct", "correct"),
        (r"\boxed{Paris}, \boxed{paris!}", "correct", "correct"),
        (r"\boxed{...}", "unparsable", "unparsable"),
        ("<answer>Paris</answer>", "correct", "correct"),
        (r"<answer> \boxed{Paris} </answer>", "correct", "correct"),
        ("Paris", "no_answer", "no_answer"),
        ("", "no_answer", "no_answer"),
        (r"\boxed{}", "no_answer", "no_answer"),
        (r"\boxed{" + "Paris " * 1000 + "}", "unparsable", "unparsable"),
    ]:
        assert judge(text, truth, kind="aliases")[1] == last, text
        assert judge(text, truth, kind="aliases", which="unique")[1] == unique, text


@pytest.mark.parametrize(("given", "kept"), [("tag", ("tag",)), (["tag", "boxed"], ("tag", "boxed"))])
def test_places_are_kept_as_a_tuple(given: Any, kept: tuple[str, ...]) -> None:
    verifier = ExactAnswer(kind="number", extract=given)
    assert verifier.extract == kept
    assert hash(verifier) == hash(ExactAnswer(kind="number", extract=kept))


def test_the_declared_order_decides_and_a_box_in_a_tag_is_opened() -> None:
    text = r"\boxed{London} <result>The city is \boxed{Paris}</result>"
    truth = {"answer": "Paris"}
    assert judge(text, truth, kind="aliases", extract=("tag", "boxed"), tag="result") == (1.0, "correct")
    assert judge(text, truth, kind="aliases", extract=("tag", "boxed"), tag="answer") == (1.0, "correct")
    assert judge(text, truth, kind="aliases", extract=("hashes", "phrase"))[1] == "no_answer"
    assert judge("The answer is Paris.", truth, kind="aliases", extract="phrase") == (1.0, "correct")
    verdict = ExactAnswer(kind="aliases")(r"\boxed{Rome}", Problem(id="p", prompt="q", truth=truth))
    assert (verdict.answer, verdict.detail) == ("Rome", "boxed: 'rome' is none of the 1 spellings")


@pytest.mark.parametrize(
    "text",
    [
        "C", "c", "(C)", "[C]", "C.", "C)", "(C).", " C ", "C:", "**C**", "**(C)**", "**C.**", "`C`", '"C"', "$C$", r"\(C\)",
        r"\text{C}", r"\textbf{(C)}", r"\mathrm{C}", r"\text{(C)}",
        r"\mathbf{C}.", r"\left( C \right)", "(c)", "\uff23", "\U0001d402",
        "Option C", "option C", "Choice (C)", "Answer: C", "The answer is C",
        "The correct answer is (C).", "the right choice is **C**",
        "Paris", "paris", "PARIS.", "**Paris**", r"\text{Paris}", "The answer is Paris", "Option Paris",
        "C. Paris", "C) Paris", "(C) Paris", "C: Paris", "C - Paris",
        "C, Paris", "(C): paris.", "**C**. Paris", "**C. Paris**",
        "The correct answer is C. Paris", r"\text{C. Paris}", "Option C: Paris", r"C. \text{Paris}",
    ],
)  # fmt: skip
def test_the_right_choice(text: str) -> None:
    assert chosen(text) == (1.0, "correct")
    assert chosen(text, {**CITIES, "answer": "B"})[0] == 0.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("B", "wrong"), ("(A)", "wrong"), ("Rome", "wrong"), ("B. Rome", "wrong"), ("D. The Hague", "wrong"),
        ("C. Rome", "ambiguous"), ("B. Paris", "ambiguous"), ("(C) London", "ambiguous"), ("F. Paris", "ambiguous"),
        ("A or C", "ambiguous"), ("A, C", "ambiguous"), ("A and C", "ambiguous"),
        ("(A) (C)", "ambiguous"), ("A/C", "ambiguous"),
        ("A B C D", "ambiguous"), ("Option C or D", "ambiguous"), ("C. D.", "ambiguous"), ("Both A and C", "ambiguous"),
        ("E", "no_such_choice"), ("(Z)", "no_such_choice"), ("Option E", "no_such_choice"),
        ("ABCD", "unparsable"), ("A city", "unparsable"), ("C city", "unparsable"),
        ("A dog", "unparsable"), ("Paris or Rome", "unparsable"),
        ("not C", "unparsable"), ("C. A city in France", "unparsable"),
        ("Paris, Texas", "unparsable"), ("x", "unparsable"), ("3", "unparsable"),
        ("CC", "unparsable"), ("A-level", "unparsable"), ("The Paris", "unparsable"),
        ("!", "unparsable"), ("C? No, it is Paris", "unparsable"),
    ],
)  # fmt: skip
def test_not_the_right_choice(text: str, reason: str) -> None:
    assert chosen(text) == (0.0, reason)


@pytest.mark.parametrize(
    ("choices", "answer", "text", "score", "reason"),
    [
        # the text of one choice is the letter of another: a capital letter is a letter, unless no choice has it
        (["L", "R", "1/C", "C"], "C", "C", 1.0, "correct"),
        (["L", "R", "1/C", "C"], "D", "C", 0.0, "wrong"),
        (["L", "R", "1/C", "C"], "D", "D. C", 1.0, "correct"),
        (["L", "R", "1/C", "C"], "B", "R", 1.0, "correct"),
        (["A", "E", "I", "O"], "D", "O", 1.0, "correct"),
        (["1", "a", "b", "c"], "B", "a", 1.0, "correct"),
        (["1", "a", "b", "c"], "A", "a", 0.0, "wrong"),
        # choices that are the same text are one choice by text, and two by letter
        (["687", "687", "1,493"], "A", "687", 1.0, "correct"),
        (["687", "687", "1,493"], "B", "687", 1.0, "correct"),
        (["687", "687", "1,493"], "A", "B", 0.0, "wrong"),
        (["687", "687", "1,493"], "C", "687", 0.0, "wrong"),
        # case matters in symbols
        (["RR", "Rr", "rr"], "B", "Rr", 1.0, "correct"),
        (["RR", "Rr", "rr"], "B", "rR", 0.0, "unparsable"),
        (["5 mW", "5 MW"], "A", "5 MW", 0.0, "wrong"),
        (["XRXr", "XRXR"], "A", "xrxr", 0.0, "ambiguous"),
        # punctuation too
        (["3.5", "35"], "A", "35", 0.0, "wrong"),
        (["-5", "5"], "A", "5", 0.0, "wrong"),
        (["2", "-2"], "B", "(B) -2", 1.0, "correct"),
        (["2", "-2"], "B", "B. -2", 1.0, "correct"),
        (["2", "-2"], "B", "B - -2", 1.0, "correct"),
        (["2", "-2"], "A", "A - 2", 1.0, "correct"),
        (["2", "-2"], "A", "(A) -2", 0.0, "ambiguous"),
        (["5", ".5"], "B", "(B) .5", 1.0, "correct"),
        (["5", ".5"], "A", "(A) .5", 0.0, "ambiguous"),
        (["5", ".5"], "A", "A.5", 0.0, "ambiguous"),
        (["+", "**"], "B", "(B) **", 1.0, "correct"),
        ([r"$\begin{bmatrix} 0 \\ 1 \end{bmatrix}$", "0"], "A", r"A. $\begin{bmatrix} 0 \\ 1 \end{bmatrix}$", 1.0, "correct"),
        (["x > 0", "x < 0"], "A", "$x > 0$", 1.0, "correct"),
        ([r"$\frac{1}{2}$", "$2$"], "A", r"\frac{1}{2}", 1.0, "correct"),
        ([r"$\frac{1}{2}$", "$2$"], "A", r"A. \frac{1}{2}", 1.0, "correct"),
        # texts that look like letters and labels
        (["A and B", "C. elegans", "A"], "A", "A and B", 1.0, "correct"),
        (["A and B", "C. elegans", "A"], "B", "C. elegans", 1.0, "correct"),
        (["None", "All of the above", "A dog"], "C", "A dog", 1.0, "correct"),
        ([1, 2.5], "B", "2.5", 1.0, "correct"),
        (["", "x"], "A", "A", 1.0, "correct"),
    ],
)
def test_awkward_choices(choices: list[object], answer: str, text: str, score: float, reason: str) -> None:
    assert chosen(text, {"choices": choices, "answer": answer}) == (score, reason)


def test_several_choices_named() -> None:
    assert judge(r"\boxed{A} no, \boxed{C}", CITIES, kind="choice") == (1.0, "correct")
    assert judge(r"\boxed{A} no, \boxed{C}", CITIES, kind="choice", which="unique") == (0.0, "ambiguous")
    assert judge(r"\boxed{C} so \boxed{(C) Paris}, \boxed{Paris}", CITIES, kind="choice", which="unique") == (1.0, "correct")
    assert judge(r"\boxed{A}\boxed{B}\boxed{C}\boxed{D}", CITIES, kind="choice", which="unique") == (0.0, "ambiguous")


@pytest.mark.parametrize(
    ("text", "truth", "reason"),
    [
        ("72", "72", "correct"), ("72.0", 72, "correct"), ("1,000", "1000", "correct"),
        ("1/2", "0.5", "correct"), ("\uff17\uff12", "72", "correct"),
        ("35", "3.5", "wrong"), ("-5", "5", "wrong"), ("12", "1/2", "wrong"),
        ("9999", "10000", "wrong"), ("0.3333", "1/3", "wrong"),
        ("72 or 73", "72", "unparsable"), ("seven", "7", "unparsable"),
        ("x=1=5", "5", "unparsable"), ("12 cm", "12", "unparsable"),
        ("9^{9^9}", "9", "unparsable"), ("9" * 300, "9", "unparsable"), ("nan", "7", "unparsable"),
    ],
)  # fmt: skip
def test_numbers(text: str, truth: object, reason: str) -> None:
    assert judge(text, {"answer": truth}, kind="number", extract="whole") == (float(reason == "correct"), reason)


def test_numbers_in_several_places() -> None:
    assert judge("I count 3, then 7", {"answer": "7"}, kind="number", extract="number") == (1.0, "correct")
    assert judge("I count 3, then 7", {"answer": "7"}, kind="number", extract="number", which="unique")[1] == "ambiguous"
    assert judge("7 is 7.0", {"answer": "7"}, kind="number", extract="number", which="unique") == (1.0, "correct")


@pytest.mark.parametrize(
    ("kind", "truth"),
    [
        ("aliases", {}), ("aliases", {"answers": []}),
        ("aliases", {"answers": ["!", "..."]}), ("aliases", {"answers": "Paris"}),
        ("aliases", {"answers": [None]}), ("aliases", {"answers": [["Paris"]]}),
        ("aliases", {"answers": {"a": 1}}), ("aliases", {"answer": None}),
        ("aliases", {"answer": True}), ("choice", {}), ("choice", {"answer": "C"}), ("choice", {"choices": ["x", "y"]}),
        ("choice", {"choices": ["x", "y"], "answer": "C"}),
        ("choice", {"choices": ["x", "y"], "answer": 1}), ("choice", {"choices": ["x"], "answer": "A"}),
        ("choice", {"choices": ["x", None], "answer": "A"}), ("choice", {"choices": "xy", "answer": "A"}),
        ("choice", {"choices": ["x", "y"], "answer": ""}),
        ("choice", {"choices": ["x", "y"], "answer": "a"}), ("choice", {"choices": ["x"] * 27, "answer": "A"}),
        ("number", {}), ("number", {"answer": "seven"}), ("number", {"answer": None}),
        ("number", {"answers": ["7"]}), ("number", {"answer": True}),
    ],
)  # fmt: skip
def test_a_truth_that_cannot_be_checked_is_unscorable_never_zero(kind: Any, truth: dict[str, Any]) -> None:
    problem = Problem(id="p", prompt="q", truth=truth)
    verdict = ExactAnswer(kind=kind)(r"\boxed{A}", problem)
    assert (verdict.outcome, verdict.score, verdict.reason) == ("unscorable", None, "bad_truth")
    assert ExactAnswer(kind=kind).check_truth(problem.truth) == verdict.detail
    assert verdict.detail.startswith("the truth")


@pytest.mark.parametrize(
    ("truth", "kinds"),
    [
        ({"answers": ["Paris"]}, {"aliases"}),
        ({"answer": "72"}, {"number"}),
        ({"answers": ["72"], "answer": "72"}, {"aliases", "number"}),
        (CITIES, {"choice"}),
        ({"cases": []}, set()),
    ],
)
def test_in_a_mixture_each_scores_its_own(truth: dict[str, Any], kinds: set[str]) -> None:
    assert {kind for kind in ("aliases", "choice", "number") if ExactAnswer(kind=kind).applies(truth)} == kinds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "letters"}, "kind=letters: must be one of aliases, choice, number"),
        ({"kind": "choice", "which": "first"}, "which=first: must be one of last, unique"),
        ({"kind": "choice", "extract": "box"}, "extract=box: must be one of boxed"),
        ({"kind": "choice", "extract": ("boxed", "box")}, "extract=box: must be one of boxed"),
        ({"kind": "choice", "extract": ()}, r"extract=\[\]: must be one of boxed"),
        ({"kind": "choice", "tag": "<answer>"}, "tag='<answer>': must be the name of a tag"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExactAnswer(**options)


def test_packs() -> None:
    city = Problem(id="p", prompt="q", truth=CITIES)
    assert load_rules("mcq").judge(r"so \boxed{C}", city).reward == 1.0
    assert load_rules("r1_format+mcq").judge("<think>of France, so C</think><answer>(C) Paris</answer>", city).reward == 1.1
    name, qa = Problem(id="p", prompt="q", truth={"answers": ["Paris", "City of Light"]}), load_rules("qa")
    assert qa.judge(r"\boxed{the City of Light}", name).reward == 1.0
    assert qa.judge(r"\boxed{Paris or London}", name).reward == 0.0


VERIFIERS = [
    ExactAnswer(kind=kind, which=which, extract=extract)  # type: ignore[arg-type]
    for kind in ("aliases", "choice", "number")
    for which in ("last", "unique")
    for extract in ("whole", ("boxed", "tag", "phrase", "number"))
]
PROBLEM = Problem(id="p", prompt="q", truth=CITIES)
PLAIN = Problem(id="p", prompt="q", truth={"answer": "7"})
PIECES = st.sampled_from(
    ["\\boxed{", "{", "}", "\\text{", "\\", "$", ",", ".", "/", "-", "%", "<answer>", "</answer>", "A", "C", "(", ")", "the ",
     "a. ", "7", "answer is ", "\u00bd", "\u00b2", "\n", "'", "\u0301", "\ud800", "\x00", "!", "#", "**"]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=4)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for verifier in VERIFIERS:
        problem = PROBLEM if verifier.kind == "choice" else PLAIN
        first = verifier(text, problem)
        assert first.outcome == "scored"
        assert first.score in (0.0, 1.0)
        assert (first.score == 1.0) == (first.reason == "correct")
        assert (
            first == verifier(text, problem) == pickle.loads(pickle.dumps(verifier))(text, pickle.loads(pickle.dumps(problem)))
        )


@given(st.text(max_size=30))
def test_a_normal_form_stays_and_a_text_equals_itself(text: str) -> None:
    form = normal_form(text, fold_accents=True)
    assert named(text, text, "other")[0] == float(bool(form.strip()) and "</think>" not in text)


@given(st.fractions(max_denominator=1000))
def test_a_number_equals_no_other_number(value: Fraction) -> None:
    texts = [f"{value}", f"{-value}", f"{value + 1}", f"{value}%", f"{abs(value)}{abs(value)}"]
    for text in texts:
        same = text.lstrip("-") == f"{value}".lstrip("-") and text.startswith("-") == f"{value}".startswith("-")
        assert named(text, f"{value}")[0] == float(same)


PIECES_400K = [
    "\\boxed{", "\\boxed{1}", "\\boxed{A.}", "\\text{", "{", "a. ", "the ", "1,", "1,111", "9", ".", "'", "\u0315\u0300", "A, ",
]  # fmt: skip


@pytest.mark.parametrize("piece", sampled(PIECES_400K))
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    text = piece * (400_000 // len(piece))
    start = time.process_time()
    for verifier in VERIFIERS:
        if verifier.which == "last":  # reads no more than `unique` does
            continue
        problem = PROBLEM if verifier.kind == "choice" else PLAIN
        verifier(text, problem)
        verifier(f"\\boxed{{{text}}}", problem)
    assert time.process_time() - start < 30
    assert named("Paris", text, "Paris")[0] == 1.0


@pytest.mark.parametrize(
    ("truth", "answer", "right"),
    [
        ("5", "- 5", False),
        ("-5", "- 5", True),
        ("-5", "-  5", True),
        ("5", "- -5", False),
        ("-5", "- -5", False),
        ("5", "-\n5", False),
        ("0.5", "- .5", False),
        ("Paris", "- Paris", True),
        ("5", "5", True),
    ],
)
def test_a_minus_followed_by_space_is_a_minus(truth: str, answer: str, right: bool) -> None:
    verdict = ExactAnswer(kind="aliases")(f"<answer>{answer}</answer>", Problem(id="p", prompt="q", truth={"answers": [truth]}))
    assert verdict.score == float(right)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("B (the cell wall)", "correct"),
        ("the cell wall (B)", "correct"),
        ("**B** (the cell wall).", "correct"),
        ("A (the nucleus)", "wrong"),
        ("the nucleus (A)", "wrong"),
        ("B (the nucleus)", "ambiguous"),
        ("the nucleus (B)", "ambiguous"),
        ("B (or A)", "ambiguous"),
        ("B (the wall)", "unparsable"),
        ("(the cell wall) B", "unparsable"),
    ],
)
def test_a_choice_by_letter_and_text_in_brackets(answer: str, reason: str) -> None:
    problem = Problem(id="p", prompt="q", truth={"choices": ["the nucleus", "the cell wall"], "answer": "B"})
    assert ExactAnswer(kind="choice")(f"<answer>{answer}</answer>", problem).reason == reason


@pytest.mark.parametrize(
    ("kind", "truth", "message"),
    [
        (
            "aliases",
            {"answer": ["Paris", "City of Paris"]},
            "the truth's answer is a list: several spellings stand under 'answers'",
        ),
        ("aliases", {"answers": "Paris"}, "the truth's answers 'Paris' must be a list of texts"),
        (
            "aliases",
            {"answers": ["x" * 3000]},
            "the truth has no answer of up to 2000 characters with a letter, digit or symbol",
        ),
        ("choice", {"choices": "ab", "answer": "A"}, "the truth's choices 'ab' must be a list of 2 to 26 texts"),
        ("choice", {"choices": ["a"], "answer": "A"}, "must be a list of 2 to 26 texts"),
    ],
)
def test_a_bad_truth_is_reported_with_the_reason(kind: Any, truth: dict[str, Any], message: str) -> None:
    assert message in (ExactAnswer(kind=kind).check_truth(truth) or "")
