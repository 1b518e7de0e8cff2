"""Files are whole or absent; directories have one writer; stamps follow their inputs."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from frenchpress.common import (
    UserError,
    atomic_dir,
    atomic_path,
    digest,
    is_done,
    locked_dir,
    mark_done,
    read_lines,
    read_yaml,
)
from frenchpress.common.document import read_one

ROOT = Path(__file__).resolve().parents[2]


def test_atomic_path_leaves_the_old_file_when_the_writer_fails(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_dir_replaces_the_whole_directory(tmp_path):
    target = tmp_path / "d"
    target.mkdir()
    (target / "stale").write_text("x")
    with atomic_dir(target) as temporary:
        (temporary / "fresh").write_text("y")
    assert [p.name for p in target.iterdir()] == ["fresh"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_atomic_dir_sweeps_what_a_killed_writer_left(tmp_path):
    (tmp_path / ".tmp-1-d").mkdir()
    with atomic_dir(tmp_path / "d"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_atomic_dir_leaves_what_another_is_writing(tmp_path):
    with atomic_dir(tmp_path / "d") as first:
        (tmp_path / ".tmp-1-d").mkdir()
        os.rename(first, tmp_path / ".tmp-2-d")  # as another process calls its own
        with atomic_dir(tmp_path / "d"):
            pass
        assert sorted(p.name for p in tmp_path.iterdir()) == [".tmp-2-d", "d"]
        os.rename(tmp_path / ".tmp-2-d", first)
        (first / "late").touch()
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["d", "d/late"]


def test_atomic_dir_replaces_what_a_link_points_to(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    with atomic_dir(tmp_path / "link") as temporary:
        (temporary / "x").touch()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "d/x").exists()


HOLD = """
import os, sys, time
from frenchpress.common import locked_dir
with locked_dir(sys.argv[1]):
    if os.fork():
        print("held", flush=True)
        time.sleep(60)
    time.sleep(float(sys.argv[2]))
"""


def hold(directory, seconds):
    """A process that holds the directory; the child that it forks does so for `seconds`."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(directory), str(seconds)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_second_writer_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("frenchpress.common.files.LOCK_PATIENCE", 0.3)
    holder = hold(tmp_path, 0)
    with pytest.raises(UserError, match="another run is writing here"), locked_dir(tmp_path):
        pass
    holder.kill()
    holder.wait()
    assert capsys.readouterr().err == f"{tmp_path}: another run is writing here; waiting up to 0.3 s for it to end\n"


def test_what_a_killed_writer_leaves_behind_is_waited_for(tmp_path):
    holder = hold(tmp_path, 1.5)
    begin = time.monotonic()
    holder.kill()
    holder.wait()
    with locked_dir(tmp_path):
        assert time.monotonic() - begin > 0.5


def test_with_patience_the_other_is_waited_for_to_its_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("frenchpress.common.files.LOCK_PATIENCE", 0.0)
    holder = hold(tmp_path, 1.0)
    holder.kill()
    holder.wait()
    with locked_dir(tmp_path, patience=math.inf):
        pass
    assert capsys.readouterr().err == f"{tmp_path}: another run is writing here; waiting for it to end\n"


def test_stamp_matches_its_key_only(tmp_path):
    mark_done(tmp_path, {"leaves": 1200})
    assert is_done(tmp_path, {"leaves": 1200})
    assert not is_done(tmp_path, {"leaves": 1201})


def test_digest_follows_content_and_upstream_stamps(tmp_path):
    (tmp_path / "feats").write_text("1")
    before = digest(tmp_path)
    (tmp_path / "feats").write_text("2")
    assert digest(tmp_path) != before
    mark_done(tmp_path, {"a": 1})
    stamped = digest(tmp_path)
    (tmp_path / "feats").write_text("3")
    assert digest(tmp_path) == stamped


def test_byte_order_marks_are_no_part_of_a_text(tmp_path):
    path = tmp_path / "phones"
    path.write_bytes("\ufeffu1 a b\r\n\ufeffu2 c\n".encode())
    assert read_lines(path) == ["u1 a b", "u2 c"]
    path.write_bytes("\ufeffseed: 1\n".encode())
    assert read_yaml(path) == {"seed": 1}
    path.write_bytes("u1 a b\n".encode("utf-16"))
    with pytest.raises(UserError, match="phones: not UTF-8 text.*iconv -f UTF-16"):
        read_lines(path)


def test_a_directory_is_no_file_to_write(tmp_path):
    with pytest.raises(UserError, match="is a directory, expected the name of a file"), atomic_path(tmp_path):
        pass
    assert list(tmp_path.parent.glob(".tmp-*")) == []


CONFIGS = sorted((ROOT / "conf").glob("*.cfg")) + sorted((ROOT / "recipes").glob("*/study.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_both_parsers_of_yaml_read_the_same(path, monkeypatch):
    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML has no parser in C here")
    one, values = read_one(path), read_yaml(path)
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    other = read_one(path)
    assert (one.values, one.origins, values) == (other.values, other.origins, read_yaml(path))


def test_yaml_that_is_nested_too_deeply_is_one_line(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: " + "[" * 50000)
    for read in (read_yaml, read_one):
        with pytest.raises(UserError, match=r"x\.yaml: nested too deeply"):
            read(path)
