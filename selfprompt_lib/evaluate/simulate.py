"""This command has moved: it says where to."""

if __name__ == "__main__":
    raise SystemExit("python -m selfprompt_lib.evaluate.simulate is now: "
                     "python book/studies/interval_coverage.py")
