"""One program, `rlvr SUBCOMMAND`: a file a subcommand."""
