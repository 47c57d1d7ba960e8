"""Where verdicts are computed: scheduler, `local/` worker processes, `remote/` workers through Redis."""
