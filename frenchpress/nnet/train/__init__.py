"""Training an acoustic model: the state of a run, its loop, its logs, and the command `frenchpress.nnet.train`."""

from frenchpress.nnet.train.command import main

__all__ = ["main"]
