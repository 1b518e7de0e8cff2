"""The ground every room stands on: errors for users, safe files, command-line entry."""

from frenchpress.common.cli import run_main
from frenchpress.common.errors import UserError, blaming, did_you_mean, nearest, unknown
from frenchpress.common.files import atomic_dir, atomic_path, locked_dir, read_lines, read_yaml, write_if_changed
from frenchpress.common.stamp import digest, is_done, mark_done

__all__ = [
    "UserError",
    "atomic_dir",
    "atomic_path",
    "blaming",
    "did_you_mean",
    "digest",
    "is_done",
    "locked_dir",
    "mark_done",
    "nearest",
    "read_lines",
    "read_yaml",
    "run_main",
    "write_if_changed",
    "unknown",
]
