"""Progress lines."""

import io

from nas.log import Progress, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_renews_itself() -> None:
    stream = Terminal()
    progress = Progress("train", 3, stream=stream)
    for step in range(1, 4):
        progress.last -= 1
        progress.update(step, images=64 * step, loss=1.25)
    text = stream.getvalue()
    assert text.count("\r") == 3
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "train 3/3  loss 1.25" in text
    assert "images/s" in text


def test_a_file_gets_a_line_every_few_seconds_and_the_last() -> None:
    stream = io.StringIO()
    progress = Progress("search", 100, done=40, every=1000.0, stream=stream)
    for step in range(41, 101):
        progress.update(step)
    assert stream.getvalue() == "search 100/100\n"


def test_time_left_counts_from_where_a_resumed_run_started() -> None:
    stream = io.StringIO()
    progress = Progress("train", 100, done=90, every=0.0, stream=stream)
    progress.start -= 10  # ten seconds for five steps: ten more for the rest
    progress.update(95)
    assert stream.getvalue() == "train 95/100  10 s left\n"


def test_whole_numbers_are_written_whole() -> None:
    stream = io.StringIO()
    Progress("search", 1, stream=stream).update(1, top1=0.12345, macs=197_112, skipped=0, more=10**400)
    assert stream.getvalue() == f"search 1/1  top1 0.1235  macs 197,112  skipped 0  more {10**400:,}\n"


def test_known_steps_say_nothing_of_the_time_left() -> None:
    stream = io.StringIO()
    progress = Progress("search", 100, every=0.0, stream=stream)
    progress.start -= 1000
    progress.resume(90)
    progress.start -= 10
    progress.update(95)
    assert stream.getvalue() == "search 95/100  10 s left\n"


def test_what_is_shown_is_computed_when_a_line_is_due() -> None:
    progress = Progress("search", 3, every=1000.0, stream=io.StringIO())
    assert not progress.due(2)
    assert progress.due(3)
    progress.last -= 2000
    assert progress.due(1)


CONTROL = "a\x1b[2Jb\rc\x07\x9b1m\x7f\u202etxt\u2066\u2028d\0\u200b\ufeff\xad"
SHOWN = r"a\x1b[2Jb\rc\x07\x9b1m\x7f\u202etxt\u2066\u2028d\x00\u200b\ufeff\xad"


def test_nothing_that_a_terminal_obeys_is_said() -> None:
    """Line feeds and tabs are ours, and letters of every script stay."""
    stream = io.StringIO()
    say(f"{CONTROL}\n\tgrößer 中文 é", stream)
    assert stream.getvalue() == f"{SHOWN}\n\tgrößer 中文 é\n"


def test_nothing_that_a_terminal_obeys_is_in_a_progress_line() -> None:
    """But what renews the line."""
    stream = Terminal()
    Progress(f"{CONTROL}\nb", 1, stream=stream).update(1, images=0, **{"\x1b[31m": 1})
    assert stream.getvalue() == f"\r\x1b[2K{SHOWN}\\nb 1/1  \\x1b[31m 1\n"
