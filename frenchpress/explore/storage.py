"""Where a search is kept: an SQLite file, or a database server that several machines share."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from frenchpress.common import UserError
from frenchpress.config import config_differences
from frenchpress.explore.space import Space

DATABASE = "explore.db"
TEST = "test"
_SPACE, _TASK = "space", "task"
_SECONDS_BUSY = 60
"""That a worker waits for another one that writes to an SQLite file."""


@dataclass(frozen=True)
class Store:
    """A storage that is open, and the exploration that it is for. `identity`: of the space, as JSON."""

    storage: BaseStorage
    url: str
    space: Space
    task: str
    identity: str

    def study(self, stage: str, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        """The Optuna study of a stage, made where there is none; UserError where it is of another space or task."""
        directions = [StudyDirection.MINIMIZE] * (1 if stage == TEST else len(self.space.file.minimise))
        name = f"{self.space.name}/{stage}"
        study = optuna.create_study(
            storage=self.storage, sampler=sampler, study_name=name, directions=directions, load_if_exists=True
        )
        wanted = {_TASK: self.task, _SPACE: self.identity}
        said = study.user_attrs
        self._compare({key: said.get(key) for key in wanted if key in said}, wanted)
        for key, value in wanted.items():
            if key not in said:
                study.set_user_attr(key, value)
        return study

    def _compare(self, said: dict[str, str], wanted: dict[str, str]) -> None:
        other = "give another --storage, or another --exp"
        if said.get(_TASK, wanted[_TASK]) != wanted[_TASK]:
            raise UserError(f"{self.url}: has {self.space.name} on another task, or the task was made anew; {other}")
        then, now = json.loads(said.get(_SPACE, wanted[_SPACE])), json.loads(wanted[_SPACE])
        for key, old, new in config_differences(then, now):
            raise UserError(f"{self.url}: has another {self.space.name}: {key} was {old}, and now is {new}; {other}")


def open_store(url: str, space: Space, task: str, heartbeat: int) -> Store:
    """The storage at `url` (sqlite:///, postgresql://, mysql://); `task`: digest.

    `heartbeat`: seconds between signs of life of a worker; one that gives none for twice as long has died, and its
    trial is given to another. UserError where the storage cannot be used; no password is printed.
    """
    with storage_errors(url):
        lite = sqlalchemy.make_url(url).get_backend_name() == "sqlite"
        with _quiet():
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": _SECONDS_BUSY}} if lite else {"pool_pre_ping": True},
                heartbeat_interval=heartbeat,
                grace_period=2 * heartbeat,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
            if lite:
                _one_at_a_time(storage.engine)
        identity = json.dumps(space.identity(), sort_keys=True)
        return Store(optuna.storages.get_storage(storage), shown(url), space, task, identity)


def _one_at_a_time(engine: sqlalchemy.Engine) -> None:
    """Let each transaction on an SQLite file lock it from its first statement on.

    Python's driver begins one at the first change only. So two workers could read that a trial waits, and both take it.
    """
    engine.dispose()  # connections of before would not hear of it

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def sqlite_url(path: Path) -> str:
    """Of a file, in a directory that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"


def shown(url: str) -> str:
    """`url` without its password."""
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return url


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Say in one line what is wrong with a storage."""
    example = "such as postgresql+psycopg://user:password@host/name"
    try:
        yield
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise UserError(f"--storage {shown(url)}: no driver for it ({_cause(error)}); see docs/explore.md") from None
    except sqlalchemy.exc.ArgumentError:
        raise UserError(f"--storage: is no address of a database, {example}") from None
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError) as error:
        raise UserError(f"{shown(url)}: cannot be reached or written ({_cause(error)}); nothing is lost") from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        again = "move it away, and the same command makes another from the experiments in --exp"
        raise UserError(f"{shown(url)}: damaged, or of another program ({_cause(error)}); {again}") from None


def _cause(error: BaseException) -> str:
    """What the driver said."""
    inner = getattr(error, "orig", None) or error.__cause__
    return _first(error) if inner is None else _cause(inner) if inner is not error else _first(error)


def _first(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def requeue(study: optuna.Study) -> None:
    """Line up again the trials that failed or were stopped, each once more."""
    trials = study.get_trials(deepcopy=False)
    with _quiet():
        again = {n for t in trials for n in RetryHeartbeatStaleTrialCallback.retry_history(t)}
        for trial in trials:
            if trial.state == TrialState.FAIL and trial.number not in again:
                RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[trial.number])


def is_again(trial: FrozenTrial) -> bool:
    """Whether it takes up one that failed or was stopped."""
    with _quiet():
        return bool(RetryHeartbeatStaleTrialCallback.retry_history(trial))


def revive(study: optuna.Study) -> None:
    """Give trials whose worker has died to others."""
    with _quiet():
        optuna.storages.fail_stale_trials(study)


def in_state(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """Trials of a study in one of these states, or all, in their order; what stands in the storage now."""
    return study.get_trials(deepcopy=False, states=states or None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Heartbeats are marked as experimental in Optuna, which it says at each use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
