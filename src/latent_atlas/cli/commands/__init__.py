"""One file per command. Each imports torch only when it runs, so that `--help` answers at once."""
