"""This command has moved: it says where to."""

if __name__ == "__main__":
    raise SystemExit("python -m selfprompt_lib.evaluate.left_out is now: "
                     "python book/studies/domains_left_out.py")
