"""The commands that a person types: `showwork COMMAND …`, each a module with `arguments(parser)` and `work(args) -> int`.

A new command is one line in COMMANDS. Its module's docstring is its help; ValueError and OSError that it raises become one
sentence and exit status 1. Only the module of the command that is asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from showwork.foundation.extras import missing_extra

COMMANDS = {
    "why": ("showwork.look.why", "say where a row of a source went, and why"),
    "inspect": ("showwork.look.inspect", "look at a file that a stage left"),
    "watch": ("showwork.look.watch", "watch a session while it runs"),
    "ask": ("showwork.look.ask", "ask a trained model a question"),
    "fits": ("showwork.look.fits", "say whether a step fits a device that is not at hand"),
}
"""{command: (module, what it does)}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        args = parser_of(argv).parse_args(argv)
    except ModuleNotFoundError as e:
        return _missing(argv[0], e)
    # Where the terminal cannot show a character it is written as \uXXXX.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return args.work(args)
    except BrokenPipeError:  # whoever read has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as e:
        print(f"showwork {args.command}: {' '.join(str(e).split())}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as e:
        return _missing(args.command, e)
    except KeyboardInterrupt:
        return 130


def _missing(command: str, error: ModuleNotFoundError) -> int:
    sentence = missing_extra(error)
    if sentence is None:
        raise error
    print(f"showwork {command}: {sentence}", file=sys.stderr)
    return 1


def parser_of(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the whole command line; only the command that `argv` names gets its arguments."""
    parser = argparse.ArgumentParser(
        prog="showwork", description="Look at a run. Stages are run by snakemake; see README.md.",
        epilog="showwork COMMAND --help says more.",
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, says) in COMMANDS.items():
        command = commands.add_parser(name, help=says, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name in argv[:1]:
            found = importlib.import_module(module)
            command.description = found.__doc__
            found.arguments(command)
            command.set_defaults(work=found.work)
    return parser


if __name__ == "__main__":
    sys.exit(main())
