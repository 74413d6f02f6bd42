"""`python -m odqa`."""

from odqa.cli import main

main()
