"""Verifier of the language of a response: the scripts of Unicode, and py3langid (offline) to tell languages of one script apart."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from rlvr.answers.normalise import normalise
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.format import visible_chars
from rlvr.verifiers.language.prose import split_prose

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MIN_LETTERS = 30
"""Fewer are too few to tell languages of one script apart: short sentences are joined until they have as many."""
MIN_PROBABILITY = 0.02
"""A passage is foreign when py3langid gives the wanted languages less. Of GSM8K, MATH-500 and AIME 2024 (28,141 passages)
one English passage has less, and of translations into a dozen languages none has more than 0.006."""
MAX_SENTENCE = 300
"""Characters; longer ones are cut, so that text without full stops is judged piece by piece too."""
MIXED = 0.1
"""Share of letters of foreign scripts from which on no part of a sentence counts."""
IDEOGRAPH = 3
"""What a Chinese, Japanese or Korean character weighs in letters: it says about as much."""

_CODES = """
af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr ht hu hy id ig is
it ja jv ka kk km kn ko ku ky la lg ln lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt qu ro ru sa si sk sl
so sq sr sv sw ta te th tl tr ug uk ur uz vi xh yo zh zu ace bcl dz gcf gom grc gug hbo kik nso pcm rw se sn st an ary
crh fo fuv gcr guw kab lb lij ltg uzs wa sdh arz ba mt nn oc tg tk tt vec vo wuu yue
"""
LANGUAGES = frozenset(_CODES.split())
"""Codes of the languages that py3langid knows: ISO 639-1, of three letters (ISO 639-3) where there is none of two."""
_LIKELY = """
en fr de es it pt nl sv da no fi pl cs sk hu ro hr lt lv et tr vi id ms tl sw ca
zh yue ja ko ru uk bg ar fa ur hi mr bn he el th kk
"""  # what a sentence may be in, beside the wanted: among all 140 languages short English sentences go astray
_SCRIPTS: dict[str, str] = {
    **dict.fromkeys(("zh", "yue", "wuu"), "CJK"), "ja": "CJK HIRAGANA KATAKANA", "ko": "HANGUL CJK",
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "kk", "ky", "mn", "tg", "tt", "ba"), "CYRILLIC"),
    **dict.fromkeys(("sr", "bs", "uz", "crh"), "CYRILLIC LATIN"), "ku": "LATIN ARABIC",
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ug", "ary", "arz", "sdh"), "ARABIC"),
    **dict.fromkeys(("hi", "mr", "ne", "sa", "gom"), "DEVANAGARI"), "bn": "BENGALI", "as": "BENGALI",
    "he": "HEBREW", "hbo": "HEBREW", "el": "GREEK", "grc": "GREEK", "am": "ETHIOPIC", "gu": "GUJARATI", "hy": "ARMENIAN",
    "ka": "GEORGIAN", "km": "KHMER", "kn": "KANNADA", "lo": "LAO", "ml": "MALAYALAM", "my": "MYANMAR", "or": "ORIYA",
    "pa": "GURMUKHI", "si": "SINHALA", "ta": "TAMIL", "te": "TELUGU", "th": "THAI", "dz": "TIBETAN",
}  # fmt: skip  # by the first word of their letters' Unicode names; languages that are not here are written in Latin letters
_NO_SCRIPT = ("MODIFIER", "FEMININE", "MASCULINE", "IDEOGRAPHIC", "KATAKANA-HIRAGANA")
# Greek letters that nobody uses as symbols, since they look like Latin ones: capitals from alpha to chi, small omicron.
_GREEK_ALIKE = re.compile("[\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf]")
_IDEOGRAPHS = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})
_END = re.compile(r"(?<=[.\u2026:;])\s+|(?<=[\u3002\u0964\u061f!?])|\n+")
# One character that stands for 18, so that a text of it would be judged at 18 times its length, and its usual short form.
_LONGEST, _SHORTER = "\ufdfa", "\u0635\u0644\u0639\u0645"
_LETTERS = re.compile(r"[^\W\d_]+")
_WORD = re.compile(r"[^\s\d!-&(-/:-@\[-`{-~]{2,}")  # the apostrophe is part of a word; single letters are names of things


@lru_cache(maxsize=1)
def _model() -> LanguageIdentifier:
    """Of our own: the functions of the library share one whose languages anybody may change. A second to load."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> LanguageIdentifier:
    """For these languages and the likely ones; never changed afterwards, so that threads can share it."""
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
    """Letters, by weight."""
    good: int
    """Those that are as wanted."""
    kind: Literal["wanted", "mixed", "foreign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language(Verifier):
    """Is the response written in the wanted languages?

    The share of its prose, in letters, that stands in sentences of these languages (in letters, so that a hundred "OK." do
    not outvote a page). Full score from `min_share` on, below in proportion. A sentence counts when hardly any of its letters
    are of a script the languages do not use, no word mixes Latin with Cyrillic or Greek letters that look alike, and
    py3langid does not rule the languages out; where there are too few letters for that, the scripts alone decide. All of
    the text is judged, none sampled. Latin letters are symbols everywhere, and so are one or two Greek letters. Reasons:
    `correct`, `mixed`, `foreign` (whichever weighs more).

    Code, maths, tags, numbers and URLs are in no language and are passed over, but not as a hiding place: a span of code or
    maths that is mostly in a foreign script counts as foreign, and so does maths that is really a sentence. (A language of
    Latin letters can still hide from another in a code fence.) A response that has nothing but these has full score (`no_text`),
    as an honest calculation without a word must; one with nothing visible has none (`empty`).
    """

    languages: tuple[str, ...] = ("en",)
    """Codes of the wanted languages (ISO 639)."""
    min_share: float = 0.8
    """Share of the prose in these languages that gets full score."""

    def __post_init__(self) -> None:
        if isinstance(self.languages, str) or not self.languages:
            raise ValueError(f"languages={self.languages!r}: must be a list of at least one code, like [en]")
        for code in self.languages:
            if code not in LANGUAGES:
                raise ValueError(f"languages={code}: must be one of {', '.join(sorted(LANGUAGES))}")
        if not 0.0 < self.min_share <= 1.0:
            raise ValueError(f"min_share={self.min_share}: must lie above 0 and not above 1")

    def prepare(self) -> None:
        _identifier(tuple(self.languages))

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        prose, spans = split_prose(normalise(completion.replace(_LONGEST, _SHORTER)))
        passages = [*self._sentences(prose), *self._hidden(spans)]
        total = sum(each.total for each in passages)
        if not total:
            shown = visible_chars(completion)
            return Verdict.scored(1.0 if shown else 0.0, "no_text" if shown else "empty", detail="no prose to judge")
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
        judged, waiting, weight, good = "", "", 0, 0  # waiting: of the right script, too short to tell their language
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
                    judged, waiting, weight, good = waiting, "", 0, 0
        if weight:
            yield self._by_language(f"{judged} {waiting}" if judged else "", waiting, weight, good)

    def _by_language(self, read: str, text: str, total: int, good: int) -> _Passage:
        """`text` as what py3langid says of `read`; the last short sentences are read with those before them, or not at all."""
        wanted = self._is_wanted(read)
        return _Passage(text, total, good if wanted else 0, "wanted" if wanted else "foreign")

    def _is_wanted(self, text: str) -> bool:
        words = dict.fromkeys(_WORD.findall(text))  # each once: one word said again and again misleads the library
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
