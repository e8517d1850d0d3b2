"""What the commands share: the arguments that choose a profile, and how errors are told."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from . import profiles
from .errors import UserError


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def run_command(
    command: Callable[..., int | None],
    *given: Any,
    tell: Callable[[str], None] = _to_stderr,
    kept: str = "what is finished is kept",
) -> int:
    """Call `command(*given)` and return the exit status of the process.

    That is the command's own (0 for None), 1 where nobody reads what it prints, 2 for an error that
    the user can mend, whose message goes to `tell`, and 130 where the user stopped it; then `tell`
    also says what was `kept`.
    """
    try:
        status = command(*given) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read what is printed wanted no more, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UserError as error:
        tell(f"error: {error}")
        return 2
    except OSError as error:
        if not error.filename:
            raise
        tell(f"error: {error.filename}: {error.strerror}; check its name and its permissions")
        return 2
    except KeyboardInterrupt:
        tell(f"stopped; {kept}, run again to go on")
        return 130


def heed_signals() -> None:
    """End from outside, or with the terminal, as by Ctrl-C: what was started is ended too."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # only the main thread may
                signal.signal(number, signal.default_int_handler)


def add_profile_arguments(
    parser: argparse.ArgumentParser, example: str = "sft.epochs=2", run: bool = False
) -> None:
    """Add `--profile` and `--set`; for a command that makes a `run`, `--seed` and `--out` too."""
    names = ", ".join(profiles.names())
    parser.add_argument("--profile", default="cpu",
                        help=f"which setting: {names} (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                        help=f"change a profile field, for example {example}")
    parser.set_defaults(seed=None)
    if run:
        parser.add_argument("--seed", type=int, help="seed of data order, shuffles and "
                            "initialisation (the profile's without it)")
        parser.add_argument("--out", default="runs",
                            help="folder for artefacts (default: %(default)s)")


def chosen_profile(given: argparse.Namespace) -> profiles.Profile:
    """The profile that the arguments of `add_profile_arguments` choose."""
    return profiles.load(given.profile, profiles.parse_settings(given.set), given.seed)
