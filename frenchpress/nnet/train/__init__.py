"""Training an acoustic model: the state of a run, its loop, its logs, and the command `frenchpress.nnet.train`."""
