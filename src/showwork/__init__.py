"""showwork: turn public reasoning datasets into a small Gemma that reasons in the open."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is looking for the stage of `python -m showwork.<stage>`
    from showwork.foundation.extras import say_what_is_missing

    say_what_is_missing()
