"""The training command as workers, in processes that start in no time."""

import multiprocessing
import os
import pickle
import socket
import sys
import traceback
from contextlib import contextmanager

import torch
import torch._dynamo  # noqa: F401 (two seconds of every fork whose first optimizer would load it)
import torch.distributed as dist

from frenchpress.common import UserError
from frenchpress.nnet.train import command
from frenchpress.nnet.train.workers import Workers


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def forked(function, *arguments):
    """Call it in a new process; yields what receives its answer.

    It is forked from a server that has nothing but the modules: a fork of the test's own process would have the locks
    of threads that other tests started, and not the threads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.join(60)
        process.kill()


def _answer(pipe, function, arguments):
    pipe.send(function(*arguments))


def as_worker(arguments, environment, stop=None):
    """Run the command, up to step `stop`; its losses, [cd] per step, and its UserError as text, None without one."""
    os.environ.update({key: str(value) for key, value in environment.items()})
    sys.argv = ["train", *map(str, arguments)]
    torch.set_num_threads(1)
    steps, means = [], Workers.means

    def noted(self, parts, batch):
        if len(steps) == stop:
            raise UserError("stopped here")
        found = means(self, parts, batch)
        steps.append(found[1])
        return found

    Workers.means = noted
    try:
        command.main()
    except UserError as error:
        return steps, str(error)
    except BaseException:  # noqa: BLE001
        return steps, traceback.format_exc()
    return steps, None


def train_as(*commands, port=None, size=None, stop=None):
    """One worker per command line; `(losses, error)` of each."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port or free_port(), "WORLD_SIZE": size or len(commands)}
    answers = []
    with _all(*(forked(as_worker, line, {**place, "RANK": k}, stop) for k, line in enumerate(commands))) as pipes:
        for pipe in pipes:
            assert pipe.poll(120), "a worker does not answer"
            answers.append(pipe.recv())
    return answers


@contextmanager
def _all(*contexts):
    entered = [context.__enter__() for context in contexts]
    try:
        yield entered
    finally:
        for context in contexts:
            context.__exit__(None, None, None)


def as_peer(function, arguments, rank, size, port):
    """Call it as worker `rank`, once all have met."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    _kept.append(dist.group.WORLD)  # as workers do
    try:
        return pickle.dumps(function(*arguments))  # not as tensors that two processes share
    finally:
        dist.destroy_process_group()


_kept = []


def call_as(size, function, *arguments):
    """What `function` gives each of `size` workers."""
    port = free_port()
    with _all(*(forked(as_peer, function, arguments, rank, size, port) for rank in range(size))) as pipes:
        assert all(pipe.poll(120) for pipe in pipes), "a worker does not answer"
        return [pickle.loads(pipe.recv()) for pipe in pipes]
