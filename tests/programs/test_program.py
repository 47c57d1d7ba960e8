"""Which part of a response is the program."""

from __future__ import annotations

import time

import pytest

from rlvr.programs.program import Place, Program, blocks, program_of, trimmed

PREAMBLE = 'from typing import List\n\n\ndef f(x: List[int]) -> int:\n    """ Sum. """\n'
BODY = "    total = sum(x)\n    return total\n"


def found(response: str, *order: Place, language: str = "python", preamble: str = "") -> str | None:
    result = program_of(response, order or ("fenced",), language=language, preamble=preamble)
    return None if result is None else result.text


def cut(text: str, preamble: str = PREAMBLE) -> str:
    """The text of a continuation, trimmed."""
    return trimmed(Program(text=text, place="continuation", span=(0, len(text) - len(preamble))), preamble).text


def result_of(program: str) -> object:
    space: dict[str, object] = {}
    exec(program, space)
    return space["f"]([1, 2, 3])  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("```python\na = 1\n```", "a = 1\n"),
        ("Text\n```py\na = 1\n```\nmore\n```python3\nb = 2\n```\nend", "b = 2\n"),
        ("```\na = 1\n```", "a = 1\n"),
        ("```Python title=x\na = 1\n```", "a = 1\n"),
        ("```python\na = 1\n```\n```bash\npip install x\n```", "a = 1\n"),
        ("```python\na = 1\n```\nOutput:\n```text\n1\n```", "a = 1\n"),
        ("```python\na = 1", "a = 1"),
        ("```python\r\na = 1\r\n```\r\n", "a = 1\n"),
        ("~~~python\na = '```'\n~~~", "a = '```'\n"),
        ("````python\na = '''\n```\n'''\n````", "a = '''\n```\n'''\n"),
        ("1. So:\n   ```python\n   if 1:\n       a = 1\n   ```", "if 1:\n    a = 1\n"),
        ("- So:\n\n      ```python\n      a = 1\n      ```\n", "a = 1\n"),
        ("```python\ndef f():\n    '''\n    ```\n    '''\n```", "def f():\n    '''\n    ```\n    '''\n"),
        ("```python\na = 1\n```\n```python\n\n```", "a = 1\n"),
        ("<think>\n```python\nb = 2\n```\n</think>\n```python\na = 1\n```", "a = 1\n"),
        ("    ```python\n    a = 1\n    ```", "a = 1\n"),
        ("```python\n    a = 1\n    b = 2\n```", "a = 1\nb = 2\n"),
        ("No code. `a = 1`", None),
        ("```bash\nls\n```", None),
        ("<think>\n```python\nb = 2\n```\n</think>\nNo.", None),
        ("```python```", None),
        ("", None),
    ],
)
def test_the_last_block_of_the_language(response: str, program: str | None) -> None:
    assert found(response) == program


def test_a_fence_that_the_prompt_has_opened_is_part_of_the_response() -> None:
    assert found("```python\n" + "def f():\n    return 1\n```\nDone.") == "def f():\n    return 1\n"


def test_other_languages() -> None:
    response = "```python\npy\n```\n```cpp\nc\n```\n```js\nj\n```"
    for language, program in (("python", "py\n"), ("cpp", "c\n"), ("javascript", "j\n")):
        assert [fence.content for fence in blocks(response, language)] == [program]
    assert found("```c++\nint x;\n```", language="cpp") == "int x;\n"


@pytest.mark.parametrize(
    "block",
    [f"def f(x):\n{BODY}", f"{PREAMBLE}{BODY}", BODY, "\n" + BODY, f"from math import fsum\n\ndef f(x):\n{BODY}"],
    ids=["the function", "all of it", "only the body", "the body behind an empty line", "imports"],
)
@pytest.mark.parametrize(
    "preamble",
    [
        PREAMBLE,
        PREAMBLE.rstrip("\n"),
        "from typing import List\n\ndef f(x: List[int]) -> int:\n",
        "import math\n\ndef f(x):\n    # comment",
    ],
    ids=["docstring", "no newline", "signature", "comment"],
)
def test_a_block_behind_a_preamble_defines_the_function_or_goes_on_with_it(block: str, preamble: str) -> None:
    program = found(f"So:\n```python\n{block}```", preamble=preamble)
    assert program is not None
    if "List" in block and "List" not in preamble:
        return
    assert result_of(program) == 6


def test_helpers_of_a_preamble_stay() -> None:
    preamble = 'def help_(x):\n    return sum(x)\n\ndef f(x):\n    """ Uses help_. """\n'
    program = found("```python\ndef f(x):\n    return help_(x)\n```", preamble=preamble)
    assert program is not None
    assert result_of(program) == 6


def test_the_places_are_tried_in_order() -> None:
    response = BODY
    assert found(response, "fenced", "continuation", preamble=PREAMBLE) == PREAMBLE + BODY
    assert found(response, "fenced", "continuation") is None, "there is nothing to go on with"
    assert found("x = 1", "fenced", "whole") == "x = 1"
    assert found("<think>no</think>x = 1", "whole") == "x = 1"
    assert found(" \n ", "whole") is None
    assert found(f"{BODY}\n```python\nx = 1\n```", "continuation", "fenced", preamble=PREAMBLE) is not None


@pytest.mark.parametrize(
    "more",
    [
        "",
        "\n\nprint(f([1]))\n",
        "\n\nassert f([1]) == 2\n",
        '\n\nif __name__ == "__main__":\n    raise SystemExit\n',
        "\n\ndef f(x):\n    return 0\n",
        "\n\n@staticmethod\ndef f(x):\n    return 0\n",
        "\n\nThis function adds the numbers up.\n",
        "\n```\n\nThe function adds.\n\n```text\nx\n",
        "\n# comment\n\ndef g(x):\n    return f(x) +",
        "\n\ndef g(x):\n    '''not closed",
        "\n\nclass A:\n    pass\n\nNow some text, it's long\n\nand\n\nmore (of it\n",
        "\n\ndef g():\n    return 1\n\nraise ValueError\n",
        "\n\nimport doctest\ndoctest.nosuch()\n",
        "\n\n<|endoftext|>from x import y\n",
        "\n\nfor i in range(3):\n    print(i)\n    f(\n",
    ],
)
def test_a_continuation_is_cut_where_it_stops_defining(more: str) -> None:
    program = cut(PREAMBLE + BODY + more)
    assert result_of(program) == 6
    assert program.startswith(PREAMBLE + BODY.rstrip("\n"))


def test_a_continuation_keeps_what_it_defines() -> None:
    more = "\nLIMIT = 3\n\ndef helper(x):\n    return sum(x)\n\nclass A:\n    pass\n"
    whole = f"{PREAMBLE}    return helper(x)\n{more}"
    assert cut(whole) == whole
    assert result_of(cut(f"{whole}print(")) == 6


def test_a_continuation_may_begin_the_function_again() -> None:
    assert result_of(cut(f"{PREAMBLE}{PREAMBLE}{BODY}\nprint(f([]))")) == 6


@pytest.mark.parametrize(
    "response", ["Here is the solution:\n", "    return (\n", "    return 1 +\n\nx = 2\n", "  return 1\n   return 2\n", "\x00"]
)
def test_a_continuation_that_parses_nowhere_is_left(response: str) -> None:
    program = cut(PREAMBLE + response)
    with pytest.raises((SyntaxError, ValueError)):
        compile(program, "x", "exec")


@pytest.mark.parametrize(
    "response",
    [
        "```" + "a" * 300_000,
        "```" + "a " * 100_000 + "`",
        "`" * 300_000,
        " " * 300_000 + "```",
        "```python\n" * 50_000,
        "\n" * 300_000,
    ],
)
def test_odd_texts_take_no_time(response: str) -> None:
    start = time.process_time()
    blocks(response, "python")
    assert time.process_time() - start < 3


def test_cutting_is_bounded() -> None:
    response = "    return 1\n" + "x = (\n" * 5000
    start = time.process_time()
    cut(PREAMBLE + response)
    cut(PREAMBLE + "    return 1\n" + "not python\n" * 20_000)
    assert time.process_time() - start < 10
