"""This command has moved: it says where to."""

import sys

if __name__ == "__main__":
    print("python -m selfprompt_lib.evaluate.study is now: "
          "python book/studies/keep_study.py", file=sys.stderr)
    sys.exit(2)
