"""`python -m frenchpress.nnet.train`."""

from frenchpress.common import run_main
from frenchpress.nnet.train.command import main

run_main(main)
