"""What a training run keeps on disk, so that after an interruption it ends with the same bytes."""

from __future__ import annotations

import errno
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from frenchpress.common import UserError, atomic_path, is_done, locked_dir, read_lines, read_yaml
from frenchpress.config import Config, config_differences, config_to_dict, config_to_yaml

CHECKPOINT, BEST, CONFIG, SUMMARY = "checkpoint.pt", "best.pt", "config.yaml", "train.yaml"
EPOCHS = "epochs"
EVENTS = "tensorboard"
POSTERIORS = "posteriors"  # what it says of train, for those that learn from it
_AGAIN = "give the .cfg another name, or throw the old run away: steps/train_am.sh --restart CFG TASK EXP"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or none; UserError when there is no room for it."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise UserError(f"{path}: {error.strerror}; what was saved before is whole; make room, run again") from None


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Save tensors and plain values; the same content gives the same bytes."""
    # Through memory, since torch.save puts the name of the file that it writes to into the file.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Save plain values as YAML, in the order given."""
    write_bytes(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110).encode())


def training_config(config: Config) -> dict[str, Any]:
    """The part of the configuration that training depends on."""
    return _trained_by(config_to_dict(config))


def _trained_by(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a configuration without how it decodes, and without whether it is watched."""
    kept = {key: value for key, value in values.get("train", {}).items() if key not in ("tensorboard", "errors")}
    watched = {"train": kept}
    return {key: value for key, value in {**values, **watched}.items() if key != "decode"}


def begin(out: Path, config: Config, task_digest: str, given: Mapping[str, str]) -> bool:
    """Start, or go on with, the run in `out`; True when it has been finished already.

    `given`: digests of the models that it starts or learns from. UserError when `out` holds a run of another
    configuration (the first differing key is named), on another task or from other models. A change in how to decode
    is no such change, and is taken over.
    """
    header = "".join(f"# {what} {whole}\n" for what, whole in {"task": task_digest, **given}.items())
    if (out / CONFIG).exists():
        begun, values = (out / CONFIG).read_text(), _trained_by(read_yaml(out / CONFIG))
        for key, then, now in config_differences(values, training_config(config)):
            raise UserError(
                f"{out}: begun with {key} = {_short(then)}, the configuration now says {_short(now)}; {_AGAIN}"
            )
        if not begun.startswith(f"# task {task_digest}\n"):
            raise UserError(f"{out}: begun on another task, or the task was made again since; {_AGAIN}")
        if not begun.startswith(header):
            raise UserError(
                f"{out}: begun with another model as {' or '.join(given)}, or that was trained again since; {_AGAIN}"
            )
    text = header + config_to_yaml(config)
    if not (out / CONFIG).exists() or (out / CONFIG).read_text() != text:
        write_bytes(out / CONFIG, text.encode())
    return is_done(out, stamp(config, task_digest, given))


def change_decoding(out: Path, config: Config) -> None:
    """Let config.yaml of the run in `out` say how `config` decodes; what was trained stays as it is."""
    with locked_dir(out):
        lines = [line for line in read_lines(out / CONFIG) if line.startswith("# ")]
        write_bytes(out / CONFIG, ("".join(line + "\n" for line in lines) + config_to_yaml(config)).encode())


def read_header(path: Path) -> dict[str, str]:
    """What a run's config.yaml says that it was made from: digests of its `task` and of the models given, by key."""
    lines = (line[2:].partition(" ") for line in read_lines(path) if line.startswith("# "))
    return {key: whole for key, _, whole in lines}


def stamp(config: Config, task_digest: str, given: Mapping[str, str]) -> dict[str, Any]:
    """What a finished run depended on."""
    return {"config": training_config(config), "task": task_digest, **({"given": dict(given)} if given else {})}


def forget(out: Path) -> None:
    """Remove what a run left in `out`, its stamp first."""
    for name in (
        ".done",
        CONFIG,
        CHECKPOINT,
        BEST,
        "final.pt",
        SUMMARY,
        "train.log",
        "metrics.jsonl",
        "size.yaml",
    ):
        (out / name).unlink(missing_ok=True)
    if (out / POSTERIORS).is_dir():
        with locked_dir(out / POSTERIORS):
            shutil.rmtree(out / POSTERIORS)
    for name in (EPOCHS, EVENTS):
        shutil.rmtree(out / name, ignore_errors=True)


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
