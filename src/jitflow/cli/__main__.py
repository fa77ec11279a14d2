"""`python -m jitflow.cli` is `jitflow`."""

from jitflow.cli.app import main

main()
