# ruff: noqa

# %% endless loop: never answers
def double(x):
    while True: pass

# %% endless loop at import: never gets as far as defining the function
while True: pass

# %% endless loop, signals ignored: cannot be asked to stop
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU):
    signal.signal(number, signal.SIG_IGN)
def double(x):
    while True: pass

# %% sleep: waits for a year without using the processor
import time
def double(x): time.sleep(365 * 86_400)

# %% regular expression: backtracks for longer than the sun will shine
import re
def double(x): return re.match("(a|a)*b", "a" * 99)

# %% huge power: one operation that no signal handler can interrupt
def double(x): return 7 ** 7 ** 11 % 10

# %% huge literal: text to int takes the square of its length
def double(x): return int("9" * 30_000_000) % 10

# %% huge answer: a number that takes its reader the square of its length
def double(x): return 1 << (1 << 23)

# %% generator without end: hands over one value after another for ever
import itertools
def double(x): return sum(itertools.count())

# %% deadlock: waits for a lock that it holds itself
import _thread
def double(x):
    lock = _thread.allocate_lock()
    lock.acquire(), lock.acquire()

# %% eat the calls: reads the questions that its own runner waits for
import os
def double(x):
    for number in range(3, 32):
        try: os.read(number, 1 << 20)
        except OSError: pass

# %% stop itself: a process that stands still does not end
import signal
signal.raise_signal(signal.SIGSTOP)

# %% error with an endless text: hangs while its error is reported
class Endless(Exception):
    def __str__(self):
        while True: pass
def double(x): raise Endless

# %% deep recursion: until the interpreter gives up
def double(x): return double(x)

# %% deep recursion, limit lifted: until the stack overflows
import sys
sys.setrecursionlimit(10**9)
def double(x): return max(map(double, [x]))
