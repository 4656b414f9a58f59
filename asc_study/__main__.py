"""``python -m asc_study`` is the command line."""

from asc_study.cli import main

main()
