"""The command line: `selfprompt run --profile cpu`, `annotate`, `compare`, `board`, `sweep` …"""

import argparse
import sys

from .packages import refuse

try:
    from . import lima_role, profiles
    from .annotate import command
    from .cli import add_profile_arguments, chosen_profile, heed_signals, run_command
    from .reading import user_path
    from .workshop import bundle, check, learners, start
except ModuleNotFoundError as missing:
    refuse(missing)


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    top = argparse.ArgumentParser(prog="python -m selfprompt_lib",
                                  description="Self-Prompt Tuning, the book")
    commands = top.add_subparsers(dest="command", required=True)
    go = commands.add_parser("run", help="execute the notebooks in order and build the book")
    add_profile_arguments(go, run=True)
    which = go.add_mutually_exclusive_group()
    which.add_argument("--from", dest="start_from", metavar="N",
                       help="begin at chapter N (1 to 7, a1, a2)")
    which.add_argument("--only", metavar="N", help="run chapter N, changed or not")
    go.add_argument("--minutes", metavar="N",
                    help="choose sizes that fit N minutes on this machine, which is measured first")
    go.add_argument("--dry-run", action="store_true",
                    help="say what would be done, what it needs and what is missing")
    go.add_argument("--no-book", action="store_true", help="leave the book unbuilt")
    go.add_argument("--readme", action="store_true", help="also write the results into README.md")
    command.add(commands)
    lima_role.add_command(commands)
    for part in (learners, check, start, bundle):
        part.add_command(commands)
    _add_compare(commands)
    _add_board(commands)
    _add_sweep(commands)
    return top


def _add_compare(commands) -> None:
    pair = commands.add_parser("compare",
                               help="paired differences of two runs of lm_eval --log_samples")
    pair.add_argument("old", type=user_path, help="folder of the first run")
    pair.add_argument("new", type=user_path, help="folder of the second; new minus old is told")
    pair.add_argument("--metric", help="such as acc_norm (default: the first of each task)")
    pair.add_argument("--filter", help="such as strict-match (default: the last of each task)")
    pair.add_argument("--out", type=user_path, metavar="FOLDER",
                      help="also write differences.csv and differences.png there")


def _add_board(commands) -> None:
    board = commands.add_parser("board", help="the runs of many laptops in one table and figure")
    board.add_argument("runs", nargs="+", type=user_path, metavar="RUN",
                       help="a run's folder, a packed file, or a folder of such")
    board.add_argument("--out", type=user_path, required=True, metavar="FOLDER",
                       help="where board.csv, board.png and board.html go")
    board.add_argument("--pack", action="store_true",
                       help="write one small file a run to --out instead, to hand in")


def _add_sweep(commands) -> None:
    sweep = commands.add_parser(
        "sweep", help="run the notebooks once for each combination of settings",
        description="Run the notebooks once for each combination of a grid's values, make once "
        "what they have in common, and write one table, sweep.parquet. What is done is skipped: "
        "run it again to go on, to add values, or to collect cells copied from other machines.")
    add_profile_arguments(sweep, run=True)
    sweep.set_defaults(out="sweep")
    sweep.add_argument("--grid", action="append", default=[], metavar="FIELD=A,B,…",
                       help="a field and its values, for example seed=0,1,2; of a field that holds "
                       "a list [a,b];[c,d]; may be repeated")
    sweep.add_argument("--chapters", default="1,3,4,5", metavar="N,N",
                       help="the chapters of a cell (default: %(default)s)")
    sweep.add_argument("--shard", metavar="K/N",
                       help="run only every N-th cell, from the K-th: for several machines")
    sweep.add_argument("--dry-run", action="store_true",
                       help="say how many runs, hours and gigabytes it takes, and what is done")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status (2 for an error that the user can mend)."""
    given = parser().parse_args(arguments)
    heed_signals()
    commands = {"annotate": command.run, "lima-role": lima_role.join_command, "run": _run,
                "compare": _compare, "board": _board, "sweep": _sweep,
                "workshop": learners.command, "check": check.command, "start": start.command,
                "bundle": bundle.command}
    try:
        return run_command(commands[given.command], given)
    except ModuleNotFoundError as missing:  # a package that is imported where it is needed
        refuse(missing)


def _compare(given: argparse.Namespace) -> None:
    from .evaluate.logged_samples import compare_command  # so that the other commands start at once

    compare_command(given)


def _board(given: argparse.Namespace) -> None:
    from .workshop import board  # as above

    board.command(given)


def _sweep(given: argparse.Namespace) -> int:
    from .pipeline import sweep  # as above

    return sweep.command(given)


def _run(given: argparse.Namespace) -> None:
    # Imported here, so that the other commands start at once.
    from . import book
    from .files import run_folder
    from .pipeline import rehearsal, run
    from .workshop.exercises import solve_all

    settings = profiles.parse_settings(given.set)
    profile = chosen_profile(given)
    out = user_path(given.out).absolute()
    root = run_folder(out, profile.name)
    chapters = run.selected_chapters(given.only, given.start_from)
    if given.minutes is not None:
        from .pipeline import minutes

        settings |= minutes.choose_sizes(given.minutes, profile, settings, root)
        profile = profiles.load(profile.name, settings, profile.seed)
    if given.dry_run:
        from .pipeline import plan

        plan.print_plan(profile, root, chapters)
        return
    rehearsal.check_run(profile, chapters)
    parameters = {"profile": profile.name, "seed": profile.seed, "out": str(out),
                  "settings": settings}
    run.run_chapters(profile, parameters, root, chapters, force=bool(given.only))
    if not given.no_book:
        if not book.missing_chapters(root):
            solve_all(profile, parameters, root)
        destination = (out.parent if given.out == "runs" else out) / "_build"
        print(book.build(root, destination))
    if given.readme:
        book.write_readme(root)


if __name__ == "__main__":
    sys.exit(main())
