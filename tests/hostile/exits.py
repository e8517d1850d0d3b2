# ruff: noqa

# %% exit 0 at import: a process that ended well
import sys
sys.exit(0)

# %% exit 0 in the call: SystemExit from the function
def double(x): raise SystemExit(0)

# %% hard exit at import: no cleaning up
import os
os._exit(0)

# %% hard exit in the call: after the first question
import os
def double(x): os._exit(0)

# %% exit after the first answer: right once, then gone
import os
def double(x):
    if x < 0: os._exit(0)
    return 2 * x

# %% exit handler: prints a verdict at the end
import atexit, os
atexit.register(lambda: (os.write(1, b"passed"), os._exit(0)))
def double(x): raise SystemExit(0)

# %% abort: ends by a signal
import os
os.abort()

# %% crash: makes the interpreter read where nothing is
import faulthandler
def double(x):
    faulthandler._sigsegv()
    raise SystemExit(0)

# %% interrupt: as if somebody pressed Ctrl-C
def double(x): raise KeyboardInterrupt

# %% end of a generator: an error that loops take for an end
def double(x): raise StopIteration

# %% GeneratorExit: an error that is no Exception
def double(x): raise GeneratorExit

# %% error of its own kind: from the root of all errors
class Mine(BaseException): pass
def double(x): raise Mine

# %% error that will not be shown: leaves while its text is made
class Mine(Exception):
    def __str__(self): raise SystemExit(0)
def double(x): raise Mine

# %% error that names itself passed: its text looks like a verdict
class passed(Exception): pass
def double(x): raise passed("('passed', '')\npassed\n(True, 4)")

# %% the test's own error: raises what a failed check would raise
def double(x): raise AssertionError

# %% no such function: defines another
def triple(x): return 3 * x

# %% nothing: an empty program
