"""`python -m stepcell` is the command line."""

from stepcell.cli import main

main(prog_name="stepcell")
