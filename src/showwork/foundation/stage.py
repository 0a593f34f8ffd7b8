"""How a stage talks: arguments in, sentences out, one line when it fails.

Takes:  `python -m showwork.<stage> --settings JSON --log FILE …`
Leaves: the log file, the same sentences on stderr, and exit status 0, 1 (failed) or one the stage chose.
Nothing here can change a result, so this module is left out of the code versions that decide what reruns.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import showwork
from showwork.foundation.extras import missing_extra

_HOUSE = str(Path(showwork.__file__).parent)
_WAYS_OUT = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there",
    errno.EROFS: "make it writable or work in another folder",
    errno.EACCES: "make it accessible",
}


class StageExit(Exception):
    """Ends a stage early with an exit status of its own (75: interrupted, run it again)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Say:
    """Sentences to the log file and to stderr; `progress` is one line a second at most, in place on a terminal."""

    def __init__(self, stage: str, name: str, log: TextIO | None, stderr: TextIO | None = None) -> None:
        self._label = f"{stage} {name}".strip()
        self._log = log
        self._stderr = stderr or sys.stderr
        self._next = 0.0
        self._open_line = False

    def __call__(self, sentence: str) -> None:
        """Say one sentence."""
        self._close_line()
        print(f"{self._label}: {sentence}", file=self._stderr, flush=True)
        self._note(sentence)

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Say how far the work is; `total` 0: nobody knows. Lines in place on a terminal; elsewhere one every 10 s.

        The end is always said. A total that was estimated may be passed: it is then shown as what is done.
        """
        now, last, live = time.monotonic(), done == total, self._stderr.isatty()
        if now < self._next and not last:
            return
        self._next = now + (1.0 if live else 10.0)
        share = f"{min(done / total, 1):4.0%} {done:,.0f}/{max(done, total):,.0f}" if total else f"{done:,.0f}"
        line = f"{self._label}: {share} {text}".rstrip()
        if live:
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=self._stderr, flush=True)
            self._open_line = not last
        else:
            print(line, file=self._stderr, flush=True)
        self._note(line.removeprefix(f"{self._label}: "))

    def trace(self, text: str) -> None:
        """Keep a trace in the log, or on stderr when there is none."""
        self._note(text)
        if not self._log:
            print(text, file=self._stderr, flush=True)

    def exit(self, code: int, text: str) -> None:
        """End the stage now with exit status `code` and one sentence.

        Raises: StageExit, always.
        """
        raise StageExit(code, text)

    def _close_line(self) -> None:
        if self._open_line:
            print(file=self._stderr)
            self._open_line = False

    def _note(self, text: str) -> None:
        """A log that cannot be written (full disk) is said once and given up: it must not hide what the stage has to say."""
        try:
            if self._log:
                print(text, file=self._log, flush=True)
        except OSError as e:
            log, self._log = self._log, None
            print(f"{self._label}: the log {log and log.name} ends here ({e.strerror})", file=self._stderr, flush=True)


def run_stage(
    work: Callable[[argparse.Namespace, dict[str, Any], Say], None],
    arguments: Callable[[argparse.ArgumentParser], None],
    doc: str | None,
    argv: list[str] | None = None,
) -> int:
    """Parse the command line, call `work(args, settings, say)`, and turn what it raises into one line.

    `settings` is the canonical JSON of the slice of config.yaml that this job may see.
    """
    stage = Path(sys.modules[work.__module__].__file__ or "stage").stem
    parser = argparse.ArgumentParser(
        prog=f"python -m showwork.{stage}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", required=True, type=json.loads, metavar="JSON", help="the slice of config.yaml")
    parser.add_argument("--log", type=Path, help="where the sentences are kept")
    arguments(parser)
    args = parser.parse_args(argv)
    log = None
    say = Say(stage, str(args.settings.get("name", "")), None)
    try:
        if args.log:
            args.log.parent.mkdir(parents=True, exist_ok=True)
            log = args.log.open("w", encoding="utf-8")
            say = Say(stage, str(args.settings.get("name", "")), log)
        work(args, args.settings, say)
        return 0
    except StageExit as e:
        say(str(e))
        return e.code
    except KeyboardInterrupt:
        say("interrupted; run the same command again")
        return 130
    except Exception as e:
        missing = missing_extra(e)
        if not missing and not _is_a_sentence(e):
            say.trace(traceback.format_exc())
        say(f"error: {missing or _one_line(e)}")
        return 1
    finally:
        with contextlib.suppress(OSError):  # every line was flushed; what could not be was said
            if log:
                log.close()


def _is_a_sentence(error: Exception) -> bool:
    """Whether our own code raised this on purpose, so that its text says all a person needs."""
    if isinstance(error, OSError) and error.filename is not None:
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, (ValueError, OSError)) and bool(frames) and frames[-1].filename.startswith(_HOUSE)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        way_out = _WAYS_OUT.get(error.errno or 0, "mend that")
        where = error.filename2 or error.filename  # of a copy: what could not be written
        return f"{where}: {error.strerror}; the file system refused, {way_out} and run the same command again"
    text = " ".join(str(error).split())
    return text if _is_a_sentence(error) else f"{type(error).__name__}: {text}; the log has the whole trace"
