"""This command has moved: it says where to."""

import sys

if __name__ == "__main__":
    print("python -m selfprompt_lib.evaluate.simulate is now: "
          "python book/studies/interval_coverage.py", file=sys.stderr)
    sys.exit(2)
