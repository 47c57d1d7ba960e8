"""Verifier of the language of a response: by Unicode scripts, and by py3langid (offline) for languages of the same script."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from rlvr.answers.normalise import normalise
from rlvr.config.bounds import check_fields
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.format import visible_text
from rlvr.verifiers.language.prose import split_prose

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MIN_LETTERS = 30
"""Fewest letters that identify a language: shorter sentences are joined until they have as many."""
MIN_PROBABILITY = 0.02
"""A passage is foreign if py3langid gives the wanted languages a lower probability. Of 28,141 passages of GSM8K, MATH-500 and
AIME 2024 one English passage has less; of translations into a dozen languages none has more than 0.006."""
MAX_SENTENCE = 300
"""Longest piece of a sentence, in characters: text without full stops is scored piece by piece too."""
MIXED = 0.1
"""Share of letters of foreign scripts above which no letter of a sentence counts."""
IDEOGRAPH = 3
"""Weight of a Chinese, Japanese or Korean character in letters: it carries about as much information."""

_CODES = """
af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr ht hu hy id ig is
it ja jv ka kk km kn ko ku ky la lg ln lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt qu ro ru sa si sk sl
so sq sr sv sw ta te th tl tr ug uk ur uz vi xh yo zh zu ace bcl dz gcf gom grc gug hbo kik nso pcm rw se sn st an ary
crh fo fuv gcr guw kab lb lij ltg uzs wa sdh arz ba mt nn oc tg tk tt vec vo wuu yue
"""
LANGUAGES = frozenset(_CODES.split())
"""Codes of the languages that py3langid knows: ISO 639-1, or ISO 639-3 where there is no code of two letters."""
_LIKELY = """
en fr de es it pt nl sv da no fi pl cs sk hu ro hr lt lv et tr vi id ms tl sw ca
zh yue ja ko ru uk bg ar fa ur hi mr bn he el th kk
"""  # candidates in addition to the wanted languages: among all 140, short English sentences are misidentified
_SCRIPTS: dict[str, str] = {
    **dict.fromkeys(("zh", "yue", "wuu"), "CJK"), "ja": "CJK HIRAGANA KATAKANA", "ko": "HANGUL CJK",
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "kk", "ky", "mn", "tg", "tt", "ba"), "CYRILLIC"),
    **dict.fromkeys(("sr", "bs", "uz", "crh"), "CYRILLIC LATIN"), "ku": "LATIN ARABIC",
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ug", "ary", "arz", "sdh"), "ARABIC"),
    **dict.fromkeys(("hi", "mr", "ne", "sa", "gom"), "DEVANAGARI"), "bn": "BENGALI", "as": "BENGALI",
    "he": "HEBREW", "hbo": "HEBREW", "el": "GREEK", "grc": "GREEK", "am": "ETHIOPIC", "gu": "GUJARATI", "hy": "ARMENIAN",
    "ka": "GEORGIAN", "km": "KHMER", "kn": "KANNADA", "lo": "LAO", "ml": "MALAYALAM", "my": "MYANMAR", "or": "ORIYA",
    "pa": "GURMUKHI", "si": "SINHALA", "ta": "TAMIL", "te": "TELUGU", "th": "THAI", "dz": "TIBETAN",
}  # fmt: skip  # the first word of their letters' Unicode names; languages that are not listed use Latin letters
_NO_SCRIPT = ("MODIFIER", "FEMININE", "MASCULINE", "IDEOGRAPHIC", "KATAKANA-HIRAGANA")
# Greek letters that look like Latin ones, so that nobody uses them as symbols: capitals from alpha to chi, small omicron.
_GREEK_ALIKE = re.compile("[\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf]")
_IDEOGRAPHS = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})
_END = re.compile(r"(?<=[.\u2026:;])\s+|(?<=[\u3002\u0964\u061f!?])|\n+")
# U+FDFA normalises to 18 characters, so a text of it would grow 18 times; it is replaced by its usual short form.
_LONGEST, _SHORTER = "\ufdfa", "\u0635\u0644\u0639\u0645"
_LETTERS = re.compile(r"[^\W\d_]+")
_WORD = re.compile(r"[^\s\d!-&(-/:-@\[-`{-~]{2,}")  # the apostrophe is part of a word; single letters are names of things


@lru_cache(maxsize=1)
def _model() -> LanguageIdentifier:
    """A separate instance: the library's functions share one whose languages anybody may change. Takes a second to load."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> LanguageIdentifier:
    """For these languages and the likely ones; never changed afterwards, so threads can share it."""
    identifier = copy.copy(_model())
    identifier.set_languages(dict.fromkeys((*languages, *_LIKELY.split())))
    return identifier


@lru_cache(maxsize=8192)
def _script(char: str) -> str:
    return "LATIN" if char.isascii() else unicodedata.name(char, "UNKNOWN").partition(" ")[0]


@dataclass(frozen=True, slots=True)
class _Passage:
    text: str
    total: int
    """Weight of its letters."""
    good: int
    """Weight of those that count as wanted."""
    kind: Literal["wanted", "mixed", "foreign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language(Verifier):
    """Is the response written in the wanted languages?

    Measured is the share of its prose, in letters, in sentences of these languages (in letters, so that a hundred "OK." do not
    outweigh a page). Full score from `min_share` on, below in proportion. A sentence counts if hardly any of its letters
    are of a script the languages do not use, no word mixes Latin with look-alike Cyrillic or Greek letters, and py3langid does
    not rule the languages out; with too few letters for that, the scripts alone decide. All of the text is scored, not a
    sample. Latin letters are symbols in every language, and so are one or two Greek letters. Reasons: `correct`, `mixed`,
    `foreign` (whichever weighs more).

    Code, maths, tags, numbers and URLs have no language and are ignored, but text cannot hide there: a span of code or maths
    that is mostly in a foreign script counts as foreign, and so does maths that is really a sentence. (Text of one language of
    Latin letters can still hide from another in a code fence.) A response of nothing else gets the full score (`no_text`), so
    that a calculation without words is not punished; one with nothing visible gets 0 (`empty`).
    """

    languages: tuple[str, ...] = ("en",)
    """Codes of the wanted languages (ISO 639)."""
    min_share: float = 0.8
    """Share of the prose in these languages that gets the full score."""

    def __post_init__(self) -> None:
        if isinstance(self.languages, str) or not self.languages:
            raise ValueError(f"languages={self.languages!r}: must be a list of at least one code, like [en]")
        for code in self.languages:
            if code not in LANGUAGES:
                raise ValueError(f"languages={code}: must be one of {', '.join(sorted(LANGUAGES))}")
        check_fields(self, "min_share", above=0, at_most=1)

    def prepare(self) -> None:
        _identifier(tuple(self.languages))

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        prose, spans = split_prose(normalise(completion.replace(_LONGEST, _SHORTER)))
        passages = [*self._sentences(prose), *self._hidden(spans)]
        total = sum(each.total for each in passages)
        if not total:
            shown = visible_text(completion)
            return Verdict.scored(1.0 if shown else 0.0, "no_text" if shown else "empty", detail="no prose to score")
        share = sum(each.good for each in passages) / total
        others = [each for each in passages if each.kind != "wanted"]
        detail = f"{share:.0%} of the prose is in {', '.join(self.languages)}, {self.min_share:.0%} asked"
        if others:
            detail += f"; not so: {others[0].text[:80]!r}"
        if share >= self.min_share:
            return Verdict.scored(1.0, "correct", detail=detail)
        mixed = sum(each.total for each in others if each.kind == "mixed")
        reason = "mixed" if 2 * mixed > sum(each.total for each in others) else "foreign"
        return Verdict.scored(share / self.min_share, reason, detail=detail)

    def _sentences(self, prose: str) -> Iterator[_Passage]:
        scripts = self._scripts()
        before, waiting, weight, good = "", "", 0, 0  # waiting: of the right script, too short to identify the language
        for sentence in _END.split(prose):
            for start in range(0, len(sentence), MAX_SENTENCE):
                piece = sentence[start : start + MAX_SENTENCE]
                passage = _by_script(piece, scripts)
                if passage.kind != "wanted":
                    yield passage
                elif passage.total:
                    waiting, weight, good = f"{waiting} {piece}".strip(), weight + passage.total, good + passage.good
                if weight >= MIN_LETTERS:
                    yield self._by_language(waiting, waiting, weight, good)
                    before, waiting, weight, good = waiting, "", 0, 0
        if weight:
            yield self._by_language(f"{before} {waiting}" if before else "", waiting, weight, good)

    def _by_language(self, read: str, text: str, total: int, good: int) -> _Passage:
        """`text` by the language of `read`: the last short sentences are identified with those before them, or not at all."""
        wanted = self._is_wanted(read)
        return _Passage(text, total, good if wanted else 0, "wanted" if wanted else "foreign")

    def _is_wanted(self, text: str) -> bool:
        words = dict.fromkeys(_WORD.findall(text))  # each once: a repeated word misleads the library
        if not words:
            return True
        ranked = dict(_identifier(tuple(self.languages)).rank(" ".join(words)))
        return sum(ranked[code] for code in self.languages) >= MIN_PROBABILITY

    def _hidden(self, spans: list[str]) -> Iterator[_Passage]:
        """Spans of code or maths that are mostly in a script foreign to the languages and to code and maths."""
        scripts = self._scripts() | {"LATIN", "GREEK"}
        passages = (_by_script(span, scripts) for span in spans if not span.isascii())
        return (each for each in passages if each.kind == "foreign")

    def _scripts(self) -> frozenset[str]:
        return frozenset(script for code in self.languages for script in _SCRIPTS.get(code, "LATIN").split())


def _by_script(text: str, wanted: frozenset[str]) -> _Passage:
    total = foreign = strange = 0  # strange: foreign, and not Latin
    alike = False
    for word in _LETTERS.findall(text):
        scripts = [_script(char) for char in word] if not word.isascii() else ["LATIN"] * len(word)
        symbol = len(scripts) - scripts.count("LATIN") <= 2
        for script in scripts:
            if script in _NO_SCRIPT or (script == "GREEK" and symbol and script not in wanted):
                continue
            weight = IDEOGRAPH if script in _IDEOGRAPHS else 1
            total += weight
            foreign += weight * (script not in wanted)
            strange += weight * (script not in wanted and script != "LATIN")
        alike = alike or ("LATIN" in scripts and ("CYRILLIC" in scripts or bool(_GREEK_ALIKE.search(word))))
    if 2 * foreign > total:
        return _Passage(text, total, 0, "foreign")
    if alike or strange > MIXED * total:
        return _Passage(text, total, 0, "mixed")
    return _Passage(text, total, total - foreign, "wanted")
