"""Train a language model against a rule pack: `python train.py ...` is `rlvr train ...`; `--help` lists every key."""

from __future__ import annotations

import sys

from rlvr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
