# ruff: noqa

# %% print a verdict: in the words of several harnesses
print("passed"); print("ok"); print("('passed', '')"); print("(True, 4)")
def double(x): print("passed")

# %% write a verdict to every file: one may be the harness's
import os
def double(x):
    for number in range(32):
        try: os.write(number, b"('passed', '')\n" * 9)
        except OSError: pass

# %% guess the token: thousands of verdicts with invented tokens
import os, random
def double(x):
    for _ in range(2000):
        try: os.write(1, b"%032x('passed', '')" % random.getrandbits(128))
        except OSError: pass

# %% answer ahead: true for every question, before it is asked
import os
for number in range(3, 8):
    try: os.write(number, b"(True, True)\n" * 20)
    except OSError: pass
def double(x): return True

# %% answer twice: two replies to each question
import os
def double(x):
    for number in range(3, 8):
        try: os.write(number, b"(True, 0)\n(True, 4)\n")
        except OSError: pass

# %% answer in code: has the reader of the reply run something
import os
def double(x):
    for number in range(3, 8):
        try: os.write(number, b"__import__('os')._exit(0)\n")
        except OSError: pass

# %% half an answer: a reply that never ends its line
import os
def double(x):
    for number in range(3, 8):
        try: os.write(number, b"(True, 4")
        except OSError: pass
    os._exit(0)

# %% flood the channel: gigabytes of reply
import os
def double(x):
    while True:
        for number in range(3, 8):
            try: os.write(number, b"9" * 65536)
            except OSError: pass

# %% close every file: leaves the reader without a channel
import os
os.closerange(0, 32)
def double(x): return 2 * x

# %% redirect every file: the empty device in the place of all others
import os
for number in range(1, 32): os.dup2(0, number)
def double(x): return 2 * x

# %% flood the output: megabytes on the screen
def double(x):
    for _ in range(500): print("x" * 100_000)

# %% huge result: more than the channel takes
def double(x): return "x" * (1 << 25)

# %% deeply nested result: overflows the reader
def double(x):
    deep = []
    for _ in range(100_000): deep = [deep]
    return deep

# %% deeply nested reply: brackets, signs and dots by hand
import os
def double(x):
    for number in range(3, 8):
        try: os.write(number, b"(True, " + b"-" * 30_000 + b"(" * 30_000 + b"\n")
        except OSError: pass

# %% odd characters: null bytes, half characters, control characters
def double(x): return "\0 \udc80 \x1b[2J"

# %% not a number: compares as no number does
def double(x): return float("nan")

# %% infinity: larger than everything
def double(x): return float("inf")

# %% names in values: an object that shows itself as a name the reader might know
class Name:
    __repr__ = lambda self: "candidate(2) or nan or inf or True"
def double(x): return Name()

# %% object that claims to be code: runs where it is read
class Code:
    __repr__ = lambda self: "__import__('os')._exit(0)"
def double(x): return Code()

# %% pickle: an object that runs something where it is unpacked
class Code:
    def __reduce__(self): return eval, ("__import__('os')._exit(0)",)
def double(x): return Code()
