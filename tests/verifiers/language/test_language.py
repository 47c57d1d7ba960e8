"""Language: honest English keeps the full score, other languages are detected, and hiding them does not help."""

# ruff: noqa: RUF001  letters that look like Latin ones are the point here

from __future__ import annotations

import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import sampled

from conftest import data, score_gap
from rlvr import Problem, load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.gsm8k import GSM8K
from rlvr.data.prompts import Prompts
from rlvr.verifiers.language.prose import split_prose
from rlvr.verifiers.language.verifier import LANGUAGES, Language

PROBLEM = Problem(id="p", prompt="q", truth={})
ENGLISH = "Natalia sold half as many clips in May. So she sold 24 clips in May, and 72 clips altogether."
CHINESE = "娜塔莉亚五月卖了一半的发夹。所以她一共卖了72个发夹。"
RUSSIAN = "В мае Наталья продала вдвое меньше заколок. Всего 72."
OTHERS = {
    "fr": "Natalia a vendu la moitié des clips en mai. Elle a donc vendu 24 clips en mai et 72 clips en tout.",
    "de": "Natalia verkaufte im Mai die Hälfte der Klammern. Also verkaufte sie 24 Klammern im Mai und insgesamt 72.",
    "es": "Natalia vendió la mitad de los clips en mayo. Entonces vendió 24 clips en mayo y 72 en total.",
    "it": "Natalia ha venduto la metà delle clip a maggio. Quindi ha venduto 24 clip a maggio e 72 in tutto.",
    "pt": "Natalia vendeu metade dos clipes em maio. Então ela vendeu 24 clipes em maio e 72 no total.",
    "nl": "Natalia verkocht in mei de helft van de clips. Dus verkocht ze 24 clips in mei en 72 in totaal.",
    "sv": "Natalia sålde hälften av klämmorna i maj. Så hon sålde 24 klämmor i maj och 72 totalt.",
    "pl": "Natalia sprzedała w maju połowę spinaczy. Więc sprzedała w maju 24 spinacze, a razem 72.",
    "id": "Natalia menjual setengah dari klip pada bulan Mei. Jadi dia menjual 24 klip dan jumlahnya 72 klip.",
    "tr": "Natalia mayıs ayında klipslerin yarısını sattı. Yani toplam olarak 72 klips sattı.",
    "zh": CHINESE,
    "ja": "ナタリアは五月に半分のクリップを売りました。合計は72個です。",
    "ko": "나탈리아는 5월에 클립의 절반을 팔았습니다. 합계는 72개입니다.",
    "ru": RUSSIAN,
    "ar": "باعت ناتاليا نصف المشابك في مايو. المجموع 72.",
    "hi": "नतालिया ने मई में आधी क्लिप बेची। कुल 72 है।",
}


def judge(text: str, **options: Any) -> tuple[float, str]:
    verdict = Language(**options)(text, PROBLEM)
    assert verdict.score is not None
    return verdict.score, verdict.reason


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_honest_solutions_of_gsm8k_keep_full_score(gsm8k_path: Path, every: int) -> None:
    rules, prompts = load_rules("english_only"), Prompts(template=compose(["model=qwen0.5b", "prompt=r1"]).prompt)
    splits = GSM8K(path=str(gsm8k_path)).load()
    problems = [*splits.train, *splits.test][::every]
    assert [(p.id, lost) for p in problems if (lost := score_gap(prompts, p, rules))] == []


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "count"), [("math500", 500), ("aime24", 30)])
def test_honest_solutions_of_competitions_keep_full_score(name: str, count: int, every: int) -> None:
    texts = [json.loads(line)["solution"] for line in (data(name) / "test.jsonl").read_text().splitlines()]
    assert len(texts) == count
    assert [text for text in texts[::every] if judge(text)[0] < 1.0] == []


@pytest.mark.parametrize("code", OTHERS)
def test_every_language_is_told_from_english(code: str) -> None:
    assert judge(OTHERS[code]) == (0.0, "foreign")
    assert judge(OTHERS[code], languages=(code,)) == (1.0, "correct")
    assert judge(ENGLISH, languages=(code,)) == (0.0, "foreign")
    both = f"{ENGLISH}\n{OTHERS[code]}"
    assert 0.2 < judge(both)[0] < 1.0
    assert judge(both, languages=("en", code)) == (1.0, "correct")


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        f"<think>{ENGLISH}</think><answer>\\boxed{{72}}</answer>",
        "Yes.",
        "So 5 + 6 = 11 eggs.\nHe has 4.",
        "If $x^2 = 4$ then \\(x = 2\\) and \\[\\sum_{i=1}^n a_i \\le \\text{lcm}(a, b)\\] holds for all of them.",
        "The angle θ is π/2, Δt is 3, and the arc is πr or 2πr long; αβ is a side of the triangle.",
        "The café is naïve about résumés, says Zoë Brontë of the Norwegian town Ålesund in her long letter.",
        "See https://example.com/une-page-en-francais-tres-longue-et-detaillee for more on how the numbers are made.",
        "Call `berechne_den_mittelwert(liste_der_zahlen)` and look at what it returns for the numbers given above.",
        "It costs $5 for the first and $6 for the second one, and then $7 for every other one that he buys.",
        f"The Chinese word \u4f60 means you, and it is one of the first that a pupil learns at school. {ENGLISH}",
        "She said: \uff28\uff45\uff4c\uff4c\uff4f to everybody who was in the room that day.",  # full-width Latin
    ],
)
def test_english_as_people_write_it(text: str) -> None:
    assert judge(text) == (1.0, "correct")


@pytest.mark.parametrize(
    "text", ["42", "3 * 4 = 12", "\\boxed{12}", "$x = 4$", "<answer>5</answer>", "```\nx = 1\n```", "\\[x^2\\]", "..."]
)
def test_a_calculation_without_words_has_no_language(text: str) -> None:
    assert judge(text) == (1.0, "no_text")


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u200b", "\x00"])
def test_an_empty_response_scores_zero(text: str) -> None:
    assert judge(text) == (0.0, "empty")


WRAP = "First, let me think about this problem. {} Therefore the answer is 72."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WRAP.format(CHINESE * 2), "foreign"),
        (WRAP.format(RUSSIAN * 2), "foreign"),
        (WRAP.format(OTHERS["fr"]), "foreign"),
        ("OK. " * 10 + CHINESE * 3, "foreign"),  # sentences weigh by their letters
        (f"```\n{CHINESE}\n```", "foreign"),
        (f"`{CHINESE}`", "foreign"),
        (f"${CHINESE}$", "foreign"),
        (f"\\[{CHINESE}\\]", "foreign"),
        (f"\\[\\text{{{CHINESE}}}\\]", "foreign"),
        (f"\\begin{{align*}}{CHINESE}\\end{{align*}}", "foreign"),
        (f"${OTHERS['fr']}$", "foreign"),
        (f"\\[{OTHERS['de']}\\]", "foreign"),
        (f"$$\\text{{{OTHERS['es']}}}$$", "foreign"),
        (f"$5 {OTHERS['fr']} $6", "foreign"),
        (f"```\n{OTHERS['fr']}", "foreign"),  # never closed
        (f"\\[{OTHERS['fr']}", "foreign"),
        (f"https://a.b/{CHINESE}", "foreign"),
        (CHINESE.replace("\u3002", ""), "foreign"),  # no full stops
        ("\u041d\u0435\u0442.", "foreign"),  # too short for its language, but not for its script
        ("She sold \u4e8c\u5341\u56db clips in \u4e94\u6708 and \u516b clips in \u56db\u6708, so", "mixed"),
        ("\u6240\u4ee5 she sold 24 clips, \u7136\u540e in May she sold \u4e00\u534a more", "mixed"),
        ("N\u0430t\u0430lia s\u043eld h\u0430lf \u0430s m\u0430ny clips", "mixed"),  # Cyrillic letters in English words
        ("N\u03bftalia s\u03bfld as many clips in May", "mixed"),  # omicrons
        ("Th\u0435 answer is seventy two and that is all there is to it", "mixed"),  # a single one
    ],
)
def test_other_languages_cannot_hide(text: str, reason: str) -> None:
    score, found = judge(text)
    assert found == reason
    assert score < 0.9


def test_script_mixing_lowers_the_score_in_proportion() -> None:
    mixed = "She sold \u4e8c\u5341\u56db clips in \u4e94\u6708 and \u516b clips in \u56db\u6708."
    scores = [judge(" ".join([ENGLISH] * n + [mixed] * (6 - n)))[0] for n in range(7)]
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert scores[6] == 1.0
    assert len(set(scores)) > 4


def test_latin_letters_are_symbols_in_other_scripts() -> None:
    assert judge(f"{CHINESE}\u8bbe x \u4e3a AB \u7684\u957f\u5ea6\uff0c\u5219 x = 2\u3002", languages=("zh",))[0] == 1.0
    assert (
        judge(f"{RUSSIAN} \u041f\u0443\u0441\u0442\u044c x \u0434\u043b\u0438\u043d\u0430 AB, x = 2.", languages=("ru",))[0]
        == 1.0
    )


def test_min_share() -> None:
    text = f"{ENGLISH} {ENGLISH} {OTHERS['fr']}"
    low, high = judge(text, min_share=0.5), judge(text, min_share=1.0)
    assert low == (1.0, "correct")
    assert 0.5 < high[0] < 0.8
    assert judge(ENGLISH, min_share=1.0) == (1.0, "correct")


@pytest.mark.parametrize(
    ("text", "prose", "spans"),
    [
        ("a `b` c", "a   c", ["`b`"]),
        ("a ``` b", "a ``` b", []),
        ("a ```b```c", "a  c", ["```b```"]),
        ("a ` b\n` c", "a ` b\n` c", []),  # not over the end of a line
        ("a $b$ c", "a   c", ["$b$"]),
        ("$5 and \\$6", "$5 and \\$6", []),
        ("a $b\n\nc$ d", "a $b\n\nc$ d", []),  # not over the end of a paragraph
        ("a $b\nc$ d", "a   d", ["$b\nc$"]),
        ("a $$b$$ c", "a   c", ["$$b$$"]),
        ("a \\(b\\) \\[c\\] d", "a     d", ["\\(b\\)", "\\[c\\]"]),
        ("a \\\\[2pt] b\\]", "a \\\\[2pt] b\\]", []),  # a line break, not maths
        ("a \\begin{align*}b\\end{align*} c", "a   c", ["\\begin{align*}b\\end{align*}"]),
        ("a \\begin{quote}b\\end{quote} c", "a  {quote}b {quote} c", []),
        ("a [asy]draw(b)[/asy] c", "a   c", ["[asy]draw(b)[/asy]"]),
        ("$one two three four$", "$one two three four$", []),
        ("<think>a</think> <x>", " a   ", []),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2", []),
    ],
)
def test_split_prose(text: str, prose: str, spans: list[str]) -> None:
    assert split_prose(text) == (prose, spans)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"languages": ()}, r"languages=\(\): must be a list of at least one code"),
        ({"languages": "en"}, "languages='en': must be a list"),
        ({"languages": ("en", "english")}, "languages=english: must be one of ace, af, "),
        ({"min_share": 0.0}, r"min_share=0.0: must lie in \(0, 1\]"),
        ({"min_share": 1.1}, "min_share=1.1: must lie in"),
        ({"min_share": float("nan")}, "min_share=nan: must lie in"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Language(**options)


def test_the_languages_are_those_of_the_library() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    assert {"zxx", "ext"} | LANGUAGES == set(LanguageIdentifier.from_model_file(MODEL_FILE).labels)  # no text, and code


def test_the_same_in_threads_and_after_pickling() -> None:
    verifiers = [Language(), Language(languages=("fr", "zh")), Language(languages=("de",))]
    texts = [ENGLISH, *OTHERS.values()]
    expected = [each(text, PROBLEM) for each in verifiers for text in texts]
    copies = [pickle.loads(pickle.dumps(each)) for each in verifiers]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert [f.result() for f in [pool.submit(each, text, PROBLEM) for each in copies for text in texts]] == expected


PIECES = st.sampled_from(
    [
        "$", "`", "```", "\\[", "\\]", "\\(", "<think>", ". ", "\n", "the cat sat ", "le chat ", "\u4f60\u597d", "\u0430",
        "\ud800",
    ]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(PIECES | st.text(alphabet=st.characters(codec=None), max_size=8)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for languages in (("en",), ("zh", "fr")):
        first = judge(text, languages=languages)
        assert 0.0 <= first[0] <= 1.0
        assert first == judge(text, languages=languages)


PIECES_400K = [
    "a. ", "the cat sat. ", "\u6211", "x", "$a", "$ab cd ef gh ", "\\[", "\\[\\(", "\\begin{array}", "`", "```", "\n",
    "a\u00e9", "\u0315\u0300", "a\u0430", "\ud800", "<a", "http://a", "ab   cd\n", "\\$", "\\", "[asy]",
]  # fmt: skip


@pytest.mark.parametrize("piece", sampled(PIECES_400K, every=5))
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    text = piece * (400_000 // len(piece))
    start = time.process_time()
    judge(text)
    judge(f"\\[${text}\\]")
    assert time.process_time() - start < 15


def test_a_sentence_between_backticks_is_prose() -> None:
    problem = Problem(id="p", prompt="q", truth={})
    french = "Nous calculons d'abord le nombre total de pommes, puis nous divisons par deux pour obtenir le resultat."
    assert Language()(f"`{french}`", problem).score == 0.0
    assert Language()(f"``{french}``", problem).score == 0.0
    assert Language()(f"It is `{french}` that counts, and `x = f(y)`.", problem).reason == "foreign"
    assert Language()("Call `numpy.linalg.norm(x, axis=0)` and then `print(y)` it.", problem).score == 1.0


def test_a_character_that_expands_to_eighteen_gains_nothing() -> None:
    """U+FDFA turned a text of 400,000 characters into one of seven million."""
    verdict = Language()("\ufdfa" * 400_000, Problem(id="p", prompt="q", truth={}))
    assert (verdict.score, verdict.reason) == (0.0, "foreign")
    assert Language(languages=("ar",))("\ufdfa", Problem(id="p", prompt="q", truth={})).score == 1.0
