"""How far a loop is: lines in a file now and then, a bar on a terminal, nothing for short loops."""

import io

from frenchpress.common.progress import EVERY, Meter, duration, left, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def counted(total, step, seconds, **options):
    """What a meter says when each `step` takes so many seconds."""
    now, said = [0.0], io.StringIO()
    meter = Meter("epoch 2 of 4", total, stream=said, clock=lambda: now[0], **options)
    for _ in range(int(options.get("done", 0)), total, step):
        now[0] += seconds
        meter.update(step)
    meter.close()
    return said.getvalue().splitlines()


def test_lines_in_a_file_say_share_and_time_left():
    assert counted(10, 1, EVERY / 20) == []
    lines = counted(100, 1, 5.0)
    assert len(lines) == 16 and lines[0] == "  epoch 2 of 4: 6 %, 0:07:50 left"
    assert lines[-1] == "  epoch 2 of 4: 96 %, 0:00:20 left"


def test_a_loop_that_goes_on_counts_only_what_it_does_itself():
    assert counted(100, 10, 40.0, done=60)[0] == "  epoch 2 of 4: 70 %, 0:02:00 left"


def test_of_the_whole_run():
    assert counted(10, 1, 40.0, then=2)[0] == "  epoch 2 of 4: 10 %, 0:06:00 left, 0:19:20 of this training"


def test_items_come_through_and_sizes_count(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr("sys.stderr", said)
    monkeypatch.setattr("frenchpress.common.progress.EVERY", 0.0)
    assert list(progress(iter("abc"), "letters")) == list("abc")
    assert [line.split(":")[1].split("%")[0].strip() for line in said.getvalue().splitlines()] == ["33", "66", "100"]
    said.truncate(0)
    assert list(progress([9, 1], "numbers", size=float)) == [9, 1]
    assert "numbers: 90 %" in said.getvalue()


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    for item in progress(range(3), "counting"):
        if item == 2:
            break
    assert "counting:" in terminal.getvalue() and "0/3" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")  # the bar is gone


def test_time_left_in_words():
    assert left(60.0, 2, 6) == ", 0:02:00 left"
    assert left(60.0, 6, 6) == left(0.0, 0, 6) == ""
    assert duration(3723.4) == "1:02:03"
