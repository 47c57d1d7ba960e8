"""Runs programs of the model, each in a fresh isolated process. README.md: what is isolated, and what is not covered.

- `base`: what goes in and out: `Job`, `Limits`, `Result`, `SandboxError`.
- `sandbox`: `Sandbox`, for one thread; `shared`: the one that a judging process keeps; `probe`: the isolation to use.
- `run`: a program run to its end; `session`: a module loaded once and called many times.
- `jail`, `fork_server`: the bubblewrap jail, and how to talk to the fork server in it.
- `inside`: the fork server's own code. It runs within the jail, with the standard library alone.
"""
