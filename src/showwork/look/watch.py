"""A session while it runs: stage, step, loss, speed, time left, newest checkpoint, and what a person should look at.

    showwork watch session1                     until the session is complete; Ctrl-C leaves, the run goes on
    showwork watch session1 --directory demo    of the run in another folder
    showwork watch session1 --once              once, as where the output is no terminal

Only files are read, so it may be started, left and started again at any time, also over ssh and on another machine that sees
the folder. Of a policy that is trained by reward the reward is shown instead of the loss.
"""

from __future__ import annotations

import argparse
import difflib
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from rich.live import Live
from rich.table import Table
from rich.text import Text

from showwork.look.running import RECENT, STAGES, Running, running, sessions_of, span
from showwork.look.terminal import console, harmless, labelled, line

BARS = "▁▂▃▄▅▆▇█"
SPARKS = 48
FRESH_S = 30.0
"""A job that said something so lately is taken to be at work."""
MOST_JOBS = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which session, of which run, how often."""
    parser.add_argument("session", help="a key of `sessions` in config.yaml")
    parser.add_argument("--directory", type=Path, default=Path(), help="folder that holds results/ (default: this one)")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two looks (default: 2)")
    parser.add_argument("--once", action="store_true", help="print the state once and end")


def work(args: argparse.Namespace) -> int:
    """Show the session until it is complete or the user has seen enough.

    Raises: ValueError: a session that is none; FileNotFoundError: no run in the folder.
    """
    check(args.directory, args.session, args.every)
    out = console()
    if args.once or not out.is_terminal:
        labelled(out, list(shown(running(args.directory, args.session, time.time()))))
        return 0
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                now = running(args.directory, args.session, time.time())
                live.update(_table(now), refresh=True)
                if now.finished:
                    return 0
                time.sleep(args.every)
    except KeyboardInterrupt:  # the way to leave
        return 0


def check(directory: Path, session: str, every: float) -> None:
    """Refuse what cannot be watched. Before any session has begun every name is waited for.

    Raises: ValueError, FileNotFoundError.
    """
    if not any((directory / name).is_dir() for name in ("results", "logs", "work")):
        raise FileNotFoundError(
            f"{directory / 'results'}: no such folder; give the run's folder with --directory, or start the run first"
        )
    if every <= 0:
        raise ValueError(f"--every is {every:g} but must be above 0 seconds; raise it")
    known = sessions_of(directory)
    if known and session not in known:
        near = difflib.get_close_matches(session, known, n=1)
        raise ValueError(
            f"session {harmless(session)!r}: there is nothing of it in {directory} yet"
            f"{f', did you mean {near[0]}?' if near else ''}; there is {', '.join(known)}"
        )


def shown(now: Running) -> Iterator[tuple[str, Text]]:
    """The state as (label, text)."""
    yield now.session, stages(now)
    if now.begun:
        yield "step", Text(_steps(now))
        yield from filter(None, (_curve(now), _speed(now), _left(now)))
        if now.training or now.checkpoint is not None:
            yield "checkpoint", Text(_checkpoint(now))
    jobs = [job for job in now.said if job[2] < FRESH_S][:MOST_JOBS] or now.said[:1]
    for number, (job, said, age) in enumerate(() if now.finished else jobs):
        yield "" if number else "now", Text(harmless(f"{job}: {line(said, 120)} ({span(age)} ago)"))
    for worry in now.worries():
        yield "look", Text(harmless(line(worry, 400)), "bold yellow")
    if now.finished:
        yield "", Text(f"complete; its report is {STAGES['report'].format(now.session)}", "green")
    elif not now.begun and not now.said:
        yield "", Text("nothing has been said yet")


def _table(now: Running) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    for label, text in shown(now):
        table.add_row(label, text)
    return table


def stages(now: Running) -> Text:
    """`mix ✓  pack ✓  train …  evaluate ·`"""
    found = Text()
    for stage in STAGES:
        fresh = any(job == f"{stage} {now.session}" and age < FRESH_S for job, _, age in now.said)
        mark, style = ("✓", "green") if stage in now.done else ("…", "bold cyan") if fresh else ("·", "dim")
        found.append(f"{stage} {mark}  ", style)
    found.rstrip()
    return found


def _steps(now: Running) -> str:
    if not now.history:
        return "none yet; the base is loaded and the step compiled"
    if now.steps is None:
        return f"{now.step:,}"
    return f"{now.step:,} of {now.steps:,}, {now.step / now.steps:.0%}"


def _curve(now: Running) -> tuple[str, Text] | None:
    name = "reward" if now.history and "reward" in now.history[-1] else "loss"
    values = [entry.get(name) for entry in now.history]
    known = [value for value in values if value is not None]
    if not known:
        return None
    last = known[-RECENT:]
    curve = f"{known[0]:.4f} {sparkline(values, SPARKS)} {sum(last) / len(last):.4f}"
    return name, Text(f"{curve} (first step, mean of the last {len(last)})")


def sparkline(values: Sequence[float | None], width: int) -> str:
    """One bar for each of `width` parts of the values, its mean between the least and the largest one; × where none is finite.

    >>> sparkline([4.0, 3.0, 2.0, None, 1.0, 1.0], 3)
    '█▄▁'
    """
    width = min(width, len(values))
    cuts = [i * len(values) // max(width, 1) for i in range(width + 1)]
    parts = [[v for v in values[a:b] if v is not None] for a, b in pairwise(cuts)]
    means = [sum(part) / len(part) if part else None for part in parts]
    known = [mean for mean in means if mean is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    scale = (len(BARS) - 1) / (most - least) if most > least else 0.0
    return "".join("×" if mean is None else BARS[round((mean - least) * scale)] for mean in means)


def _speed(now: Running) -> tuple[str, Text] | None:
    if now.tokens_per_s is None or now.step_s is None:
        return None
    peak = max(entry["peak_bytes"] for entry in now.timing)
    return "speed", Text(f"{now.tokens_per_s:,.0f} tokens/s, {now.step_s:.3g} s a step, {peak / 2**30:.1f} GiB at most")


def _left(now: Running) -> tuple[str, Text] | None:
    if now.left_s is None:
        return None
    end = time.strftime("%a %H:%M", time.localtime(time.time() + now.left_s))
    return "left", Text(f"{span(now.left_s)} of training, until about {end}")


def _checkpoint(now: Running) -> str:
    if now.checkpoint is None or now.checkpoint_age_s is None:
        return "none yet; a kill now costs every step so far"
    return f"step {now.checkpoint:,}, {span(now.checkpoint_age_s)} ago"
