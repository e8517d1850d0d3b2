"""This command has moved: it says where to."""

import sys

if __name__ == "__main__":
    print("python -m selfprompt_lib.evaluate.left_out is now: "
          "python book/studies/domains_left_out.py", file=sys.stderr)
    sys.exit(2)
