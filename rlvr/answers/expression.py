"""Parser of formulas, in LaTeX or plain text, to trees.

A tree is a nested tuple, so that it can be hashed, pickled and sent to other processes:
    ("num", Fraction) ("sym", name) ("const", "pi" | "e" | "i" | "oo")
    ("add", a, b, ...) ("mul", a, b, ...) ("pow", base, exponent) ("root", degree, a) ("fn", name, a, ...)
No text is ever evaluated as Python: numbers become fractions, everything else becomes nodes.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

Tree = tuple[Any, ...]

MAX_CHARS = 600
"""Longest formula that is read."""
MAX_DEPTH = 40
"""Deepest nesting that is read."""


class Unreadable(ValueError):
    """The text is not a formula that this parser knows."""


_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|\.\d+|[a-zA-Z]|\S")
_CONSTANTS = {"\\pi": "pi", "\u03c0": "pi", "e": "e", "i": "i", "\\infty": "oo", "\u221e": "oo", "\\imath": "i"}
_FUNCTIONS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln", "log", "exp",
}  # fmt: skip
_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa", "lambda",
    "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta",
    "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell",
}  # fmt: skip
_NAMED = re.compile(
    r"(?<![\\a-zA-Z])(sqrt|pi|infty|oo|" + "|".join(sorted(_FUNCTIONS, key=len, reverse=True)) + r")(?![a-zA-Z])"
)
_TIMES = {"*", "\\cdot", "\\times", "\u00d7", "\u00b7", "\\ast"}
_OVER = {"/", "\\div", "\u00f7"}
_CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_STARTS = {"(", "[", "{", "\\frac", "\\sqrt", "\\binom", "\\lfloor", "\\lceil", "\u221a"}


def num(value: int | Fraction) -> Tree:
    return ("num", Fraction(value))


INFINITY: Tree = ("const", "oo")


def has_infinity(tree: Tree) -> bool:
    return tree == INFINITY or any(has_infinity(part) for part in tree[1:] if isinstance(part, tuple))


def has_letters(tree: Tree) -> bool:
    return tree[0] == "sym" or any(has_letters(part) for part in tree[1:] if isinstance(part, tuple))


def parse(text: str) -> Tree:
    """The tree of a formula whose text `rlvr.answers.splitting.clean` has cleaned. Errors: `Unreadable`."""
    if len(text) > MAX_CHARS:
        raise Unreadable(f"longer than {MAX_CHARS} characters")
    text = _NAMED.sub(lambda m: "\\infty " if m[1] in ("oo", "infty") else f"\\{m[1]} ", text.replace("**", "^"))
    reader = _Reader(_TOKEN.findall(text))
    tree = reader.sum(0)
    if reader.at < len(reader.tokens):
        raise Unreadable(f"{reader.tokens[reader.at]!r} was not expected")
    return tree


class _Reader:
    """A recursive-descent parser; `depth` bounds the nesting."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise Unreadable(f"{token!r} is missing")

    def sum(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise Unreadable("nested too deep")
        terms = [self.product(depth)]
        while self.peek() in ("+", "-"):
            negative = self.next() == "-"
            term = self.product(depth)
            terms.append(("mul", num(-1), term) if negative else term)
        return terms[0] if len(terms) == 1 else ("add", *terms)

    def product(self, depth: int) -> Tree:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.next() == "-"
        factors = [num(-1)] if negative else []
        factors.append(self.power(depth))
        while True:
            token = self.peek()
            if token in _TIMES or token in _OVER:
                self.next()
                sign = self.peek() in ("+", "-") and self.next()
                factor = self.power(depth)
                factors.append(("pow", factor, num(-1)) if token in _OVER else factor)
                if sign == "-":
                    factors.append(num(-1))
            elif self.starts_factor(token):
                number = token[0].isdigit() or token[0] == "."
                if number and self.tokens[self.at - 1] != "!" and factors[-1][0] != "pow":  # 3 4, x2: not a product
                    raise Unreadable(f"a number follows {self.tokens[self.at - 1]!r}")
                factors.append(self.power(depth))
            else:
                return factors[0] if len(factors) == 1 else ("mul", *factors)

    @staticmethod
    def starts_factor(token: str) -> bool:
        name = token.removeprefix("\\")
        return bool(token) and (
            token in _STARTS or token in _CONSTANTS or token[0].isalnum() or token[0] == "."
            or (token[0] == "\\" and (name in _FUNCTIONS or name in _GREEK))
        )  # fmt: skip

    def power(self, depth: int) -> Tree:
        base = self.atom(depth)
        while True:
            if self.peek() == "!":
                self.next()
                base = ("fn", "factorial", base)
            elif self.peek() == "'":
                raise Unreadable("a derivative")
            elif self.peek() == "^":
                self.next()
                base = self.raised(base, depth)
            else:
                return base

    def raised(self, base: Tree, depth: int) -> Tree:
        if self.peek() == "\\circ":  # degrees
            self.next()
            return ("mul", base, ("const", "pi"), num(Fraction(1, 180)))
        if self.peek() == "{" and self.tokens[self.at + 1 : self.at + 3] == ["\\circ", "}"]:
            self.at += 3
            return ("mul", base, ("const", "pi"), num(Fraction(1, 180)))
        return ("pow", base, self.exponent(depth))

    def exponent(self, depth: int) -> Tree:
        """What follows `^` or `_`: a group, or one signed token. Right-associative."""
        if self.peek() in ("+", "-"):
            sign = -1 if self.next() == "-" else 1
            return ("mul", num(sign), self.exponent(depth + 1))
        token = self.peek()
        tight = self.atom(depth + 1)
        if self.peek() == "^" and token != "{":
            self.next()
            return ("pow", tight, self.exponent(depth + 1))
        return tight

    def group(self, opening: str, depth: int) -> Tree:
        tree = self.sum(depth + 1)
        if opening == "{" and self.peek() in ("\\over", "\\choose"):
            operator, below = self.next(), self.sum(depth + 1)
            inverse = ("pow", below, num(-1))
            tree = ("mul", tree, inverse) if operator == "\\over" else ("fn", "binomial", tree, below)
        self.expect(_CLOSING[opening])
        return tree

    def atom(self, depth: int) -> Tree:
        token = self.next()
        if not token:
            raise Unreadable("it ends too early")
        if token[-1].isdigit():
            return self.number(token)
        if token in ("(", "[", "{"):
            return self.group(token, depth)
        if token in ("\\lfloor", "\\lceil"):
            return ("fn", "floor" if token == "\\lfloor" else "ceiling", self.group(token, depth))
        if token in ("\\frac", "\\binom"):
            top, bottom = self.argument(depth), self.argument(depth)
            return ("mul", top, ("pow", bottom, num(-1))) if token == "\\frac" else ("fn", "binomial", top, bottom)
        if token in ("\\sqrt", "\u221a"):
            return self.root(depth)
        if token == "|":
            tree = self.sum(depth + 1)
            self.expect("|")
            return ("fn", "abs", tree)
        if token in _CONSTANTS:
            return ("const", _CONSTANTS[token])
        name = token.removeprefix("\\")
        if token[0] == "\\" and name in _FUNCTIONS:
            return self.function(name, depth)
        if (len(token) == 1 and token.isalpha()) or (token[0] == "\\" and name in _GREEK):
            return ("sym", name + self.subscript())
        raise Unreadable(f"{token!r} is not understood")

    def number(self, token: str) -> Tree:
        """A number; with a fraction right after it, 2\\frac{3}{4}, a mixed number."""
        whole = num(Fraction(token))
        if self.peek() == "\\frac" and token.isdigit():
            at = self.at
            self.next()
            top, bottom = self.argument(0), self.argument(0)
            if top[0] == bottom[0] == "num" and bottom[1] and 0 < top[1] / bottom[1] < 1:
                return num(whole[1] + top[1] / bottom[1])
            self.at = at
        return whole

    def argument(self, depth: int) -> Tree:
        """An argument of \\frac and similar commands: a group, or one token; of a number only its first digit."""
        token = self.peek()
        if token[:1].isdigit() and len(token) > 1:
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        return self.atom(depth + 1)

    def root(self, depth: int) -> Tree:
        degree = num(2)
        if self.peek() == "[":
            self.next()
            degree = self.group("[", depth)
        return ("root", degree, self.argument(depth))

    def function(self, name: str, depth: int) -> Tree:
        base = None
        if name == "log" and self.peek() == "_":
            self.next()
            base = self.argument(depth)
        power = None
        if self.peek() == "^":
            self.next()
            power = self.exponent(depth)
            if power == ("mul", num(-1), num(1)):
                if name not in ("sin", "cos", "tan"):
                    raise Unreadable("an inverse function or a reciprocal")
                name, power = f"arc{name}", None
        inside = self.tight(depth)
        if name == "exp":
            tree: Tree = ("pow", ("const", "e"), inside)
        elif name in ("ln", "log"):
            tree = ("fn", "log", inside)
            if base is not None or name == "log":
                tree = ("mul", tree, ("pow", ("fn", "log", base or num(10)), num(-1)))
        else:
            tree = ("fn", name, inside)
        return ("pow", tree, power) if power else tree

    def tight(self, depth: int) -> Tree:
        """The argument of a function without brackets: \\sin 2x is sin(2x), \\sin x \\cos x is two factors."""
        if self.peek() in ("(", "["):  # \sin(x)^2 is the square of the sine
            return self.atom(depth + 1)
        if self.peek() == "{":
            return self.power(depth + 1)
        factors = [self.power(depth + 1)]
        while self.starts_factor(self.peek()) and self.peek().removeprefix("\\") not in _FUNCTIONS and self.peek() not in "([":
            if self.peek()[0].isdigit():
                raise Unreadable("a number follows a letter")
            factors.append(self.power(depth + 1))
        return factors[0] if len(factors) == 1 else ("mul", *factors)

    def subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.next()
        token = self.next()
        if token == "{":
            content = ""
            while self.peek() not in ("}", ""):
                content += self.next()
            self.expect("}")
            token = content
        if not token.isalnum():
            raise Unreadable("an odd subscript")
        return f"_{token}"
