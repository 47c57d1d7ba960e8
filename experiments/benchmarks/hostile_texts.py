"""Hostile and random texts, each determined by a seed and a number, so that any of them can be reproduced."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

LATEX = [
    "\\boxed{", "\\boxed {", "\\fbox{", "}", "{", "\\}", "\\{", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\frac{1}{2}",
    "\\frac", "\\dfrac12", "\\sqrt{", "\\sqrt[3]", "\\left(", "\\right]", "\\left.", "\\begin{pmatrix}",
    "\\end{pmatrix}", "\\begin{array}{cc}", "\\\\", "&", "^", "_", "^{", "^\\circ", "\\pm", "\\cup", "\\in",
    "\\infty", "\\pi", "\\text{", "\\mathrm{", "\\overline{3}", "\\cdot", "\\times", "\\log_", "\\sin", "\\int_0^1",
    "\\sum_{k=1}^{\\infty}", "\\lim_{x \\to 0}", "\\binom{", "\\%", "\\$", "\\,", "\\!", "~",
    "\\newcommand{\\x}{\\x\\x}", "\\def\\a{\\a}", "9^{9^9}", "9^{9^{9^9}}", "10^{10^{10}}", "1000000!", "((9!)!)!",
    "2^{2^{2^{2^{2^2}}}}", "\\sqrt{\\sqrt{\\sqrt{2}}}", "0^0", "1/0", "\\frac{0}{0}", "x=1=2=3", "x", "y", "i", "e",
    "=", "<", "\\le", "\\neq", "+", "-", "*", "/", "(", ")", "[", "]", ",", ";", ":", "|", "!", ".", "72", "3.14",
    "1e999999999", "-0", "1,234", "1 234", "0.\\overline{142857}", "nan", "inf", "__import__('os').system('id')",
    "lambda: 0", "%s%n{0.__class__}",
]  # fmt: skip
TAGS = [
    "<think>", "</think>", "<answer>", "</answer>", "<THINK>", "< think >", "<answer", "answer>", "<think/>",
    "<tool_call>", "</tool_call>", "<|im_start|>assistant", "<|im_end|>", "<|endoftext|>", "</s>", "<s>", "[INST]",
    "[/INST]", "<unk>", "<pad>", "####", "#### 72", "\n####\n", "The answer is", "the final answer is 72.", "Answer:",
    "(C)", "C.", "C", "New York", "```json", "```xml", "```python", "```", "~~~", "\n", "\r\n",
]  # fmt: skip
MARKUP = [
    '{"name": "Ada", "age": 36}', '{"a":', "[", "]", "{", "}", ":", ",", '"', "'", "\\u0000", "\\ud800", "NaN",
    "Infinity", "-Infinity", "1e400", "null", "true", '{"a":1,"a":2}', '{"$ref":"#"}',
    '{"$ref":"http://localhost/x"}', '{"__proto__":{}}', '{"tool_calls":[',
    '{"name":"add","arguments":{"a":1,"b":2}}', "<r>", "</r>", "<a b='c'>", "<![CDATA[", "]]>", "<!--", "-->",
    "<?xml version='1.0'?>", "&amp;", "&#0;", "&#x110000;", "&xxe;",
    "<!DOCTYPE r [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]>",
    "&c;&c;&c;", "<!DOCTYPE r [<!ENTITY xxe SYSTEM 'file:///etc/passwd'>]>",
    "<xi:include href='file:///etc/passwd'/>", "xmlns='urn:x'",
]  # fmt: skip
ODD = [
    "\x00", "\x1b[2J", "\ud800", "\udfff", "\udc80\ud800", "\u202e", "\u202d", "\u200b", "\u200d", "\ufeff", "\u0301",
    "\u0315\u0300", "\u0489", "\u2028", "\u0085", "\x0c", "\x7f", "\uffff", "\U0010ffff",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\uff17\uff12", "\u0667", "\u00bd", "\u00b2", "\u2212", "\u221e",
    "\u2264", "\u222a", "\u03c0", "\u3164", "\u2800", "\u1160", "\ufdfa", "\u00df", "\u0130", "\u01c5", "\U0001d7d7",
    "\u4e03\u5341\u4e8c", "\u2167", "\u05d0\u05d1", "\u0627\u0644", "\u0e01\u0e33", "Sch\u00f6n.", "D'accord, oui.",
    "\u041f\u0440\u0438\u0432\u0435\u0442.", "\u4f60\u597d\u3002",
]  # fmt: skip
GOOD = [
    "<think>Forty-eight and twenty-four make 72.</think>\n<answer>\\boxed{72}</answer>", "48 + 24 = 72\n#### 72",
    "The answer is $\\boxed{\\frac{3\\sqrt{3}}{4}}$.",
    "<think>The capital is not meant.</think><answer>New York</answer>",
    "<think>It is the third one.</think><answer>\\boxed{C}</answer>",
    "<think>Four times six.</think><answer>(5 - 1) * (8 - 2)</answer>",
    '```json\n{"name": "Ada", "age": 36, "tags": ["x"]}\n```',
    '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
    "<note><to>Ada</to><body>Come at 7.</body></note>",
    "<think>We solve $x^2+2x+1=0$.</think><answer>$\\boxed{(x+1)^2}$</answer>",
    "\\boxed{\\{1+\\sqrt5, 1-\\sqrt5, -2\\}}", "\\boxed{(-\\infty, 0]}",
    "\\boxed{\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}}", "\\boxed{y = 2x + 3}", "\\boxed{1 \\pm \\sqrt{19}}",
    "\\boxed{90^\\circ}", "\\boxed{50\\%}",
]  # fmt: skip
PIECES = [*LATEX, *TAGS, *MARKUP, *ODD]


def soup(rng: Random) -> str:
    """Random pieces, some with white space between them."""
    source = rng.choice([PIECES, PIECES, LATEX, TAGS, MARKUP, ODD])
    return rng.choice(["", "", " ", "\n"]).join(rng.choices(source, k=rng.randint(0, 60)))


def unicode_noise(rng: Random) -> str:
    ranges = [(0, 0x7F), (0, 0x2FF), (0x300, 0x36F), (0x590, 0x6FF), (0x2000, 0x2BFF), (0xD800, 0xDFFF), (0, 0x10FFFF)]
    low, high = rng.choice(ranges)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(0, 300)))


def placed(rng: Random, text: str) -> str:
    """The text in a place where verifiers look for an answer."""
    places = [
        "\\boxed{@}",
        "<think>because it is so</think><answer>@</answer>",
        "#### @",
        "The answer is @.",
        "```json\n@\n```",
    ]
    return rng.choice([*places, "@"]).replace("@", text)


def expression(rng: Random) -> str:
    """An expression that may be very expensive to compute."""
    powers = ["(@)^{@}", "@^{9}", "(@)!", "e^{@}", "\\binom{@}{7}", "\\sqrt{@}", "\\log_2(@)"]
    others = ["\\frac{@}{@+1}", "@+@", "(@)(@-1)", "\\sin(@)", "-@", "|@|"]
    text = rng.choice(["x", "2", "9", "\\pi", "10", "y", "i", "e"])
    for _ in range(rng.randint(1, 12)):
        form = rng.choice([*powers, *others])
        text = form.replace("@", text) if len(text) < 2_000 else text
    return placed(rng, text)


def nested(rng: Random) -> str:
    openers = [
        "{",
        "(",
        "[",
        "\\boxed{",
        "\\frac{",
        "\\sqrt{",
        "^{",
        "\\left(",
        "<a>",
        '{"a":',
        "[[",
        "<think>",
        "\\text{",
        "-",
        "\\{",
    ]
    opener, depth = rng.choice([*openers, "|", "$", "!", "\\pm"]), int(10 ** rng.uniform(0.5, 4.3))
    closers = {"(": ")", "[": "]", "<a>": "</a>", "<think>": "</think>", "\\left(": "\\right)", "\\{": "\\}", "[[": "]]"}
    closer = closers.get(opener, "}" if opener.endswith(("{", ":")) else "")
    inner = rng.choice(["", "1", "x", "\\frac12"])
    return placed(rng, opener * depth + inner + closer * rng.choice([depth, 0, depth - 1, depth + 1]))


def digits(rng: Random) -> str:
    number = "".join(rng.choices("0123456789", k=int(10 ** rng.uniform(0, 4.5))))
    forms = [
        "@",
        "-@",
        "0.@",
        "@.@",
        "@/@",
        "\\frac{@}{7}",
        "1e@",
        "2^{@}",
        "@!",
        "\\sqrt{@}",
        "@\\%",
        "\\$@",
        "x^{@}",
        "@,@",
        "(@,@)",
    ]
    return placed(rng, rng.choice([*forms, "0.\\overline{@}", "\\binom{@}{2}"]).replace("@", number))


def repeated(rng: Random) -> str:
    lines = ["a", " ", "ab ", "\\boxed{72} ", "#### 72\n", "The answer is 72. ", "1,", "x+", "(x+1)"]
    piece = rng.choice([*GOOD, *PIECES, *lines])
    return piece * min(int(10 ** rng.uniform(0.5, 3.6)), max(1, 60_000 // len(piece)))


def very_long(rng: Random) -> str:
    """Up to 400,000 characters in one line."""
    piece = rng.choice([*PIECES, *GOOD, chr(rng.randint(32, 0x2FFF)), "a b ", "9", "x^2+"])
    text = piece * (rng.choice([50_000, 400_000]) // max(1, len(piece)))
    return rng.choice([text, f"\\boxed{{{text}}}", f"<answer>{text}</answer>", f"{text}\\boxed{{72}}"])


def mutated(rng: Random) -> str:
    """A good completion with a few cuts, copies and insertions: what a model is most likely to write."""
    text = rng.choice(GOOD)
    for _ in range(rng.randint(1, 6)):
        one, other = sorted(rng.choices(range(len(text) + 1), k=2))
        change = rng.randrange(4)
        if change == 0:
            text = text[:one] + text[other:]
        elif change == 1:
            text = text[:one] + text[one:other] * rng.randint(2, 5) + text[other:]
        elif change == 2:
            text = text[:one] + rng.choice(PIECES) + text[one:]
        else:
            text = text[:one] + rng.choice([*GOOD, *ODD]) + text[other:]
        text = text[:20_000]
    return text


def answered(rng: Random) -> str:
    """Soup where an answer is looked for."""
    return placed(rng, "".join(rng.choices(rng.choice([LATEX, MARKUP, ODD, PIECES]), k=rng.randint(0, 12))))


MAKERS: dict[Callable[[Random], str], float] = {
    soup: 20, answered: 22, mutated: 22, expression: 4, unicode_noise: 9, nested: 5, digits: 6, repeated: 5, very_long: 0.2,
}  # fmt: skip


def hostile_text(seed: int, number: int) -> tuple[str, str]:
    """The kind of text, and the text; the same for the same arguments on any machine."""
    rng = Random(f"{seed}/{number}")
    (maker,) = rng.choices(list(MAKERS), list(MAKERS.values()))
    text = maker(rng)
    if rng.random() < 0.1:
        text = text[: rng.randint(0, len(text))]  # cut off by a token limit
    return maker.__name__, text
