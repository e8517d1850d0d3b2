"""The cache of replies: what was paid for is written down at once, and never asked again."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock

from ..errors import UserError, require


class ResponseCache(AbstractContextManager):
    """An append-only JSONL file with one line a reply, indexed by the row's key.

    A row may have several lines: a reply that could not be used, then the next attempt; the last
    one counts. A line that a kill or a power cut left incomplete is dropped when the file is opened
    again; a whole line that lacks its line end is given one.

    Raises:
        UserError: another process writes this file; a line that is no reply.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(path.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{path}: another run is writing to it; wait for that one, "
                            "or give another place") from None
        self.dollars = 0.0  # what all replies in the file did cost
        self._last: dict[bytes, dict[str, Any]] = {}  # the last reply of each key
        self._file = path.open("a+b")
        try:
            self._read()
        except UserError:
            self.close()
            raise

    def _read(self) -> None:
        self._file.seek(0)
        end, line_end = 0, b""
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                line, line_end = line.rstrip(b"\0"), b"\n"  # a power cut leaves NUL bytes
                require(b'{"key":'.startswith(line[:7]),
                        f"{self.path}: holds something else than replies; give another place")
            try:
                row = json.loads(line)
                require(row["outcome"] and row["attempt"] >= 0, "")
                self._last[bytes.fromhex(row["key"])] = row
                self.dollars += row.get("dollars") or 0.0
            except (ValueError, KeyError, TypeError, RecursionError):
                if line_end:
                    line_end = b""
                    break
                raise UserError(f"{self.path}, line {number}: no reply with key, outcome and "
                                "attempt; delete the line") from None
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)
        self._file.write(line_end)

    def append(self, row: dict[str, Any]) -> None:
        """Write one reply and flush it."""
        line = json.dumps(row, ensure_ascii=False).encode(errors="replace")
        self._file.write(line + b"\n")
        self._file.flush()
        self._last[bytes.fromhex(row["key"])] = json.loads(line)  # as a later run will read it

    def last(self, key: str) -> dict[str, Any] | None:
        """The last reply for this key, or None.

        Raises:
            ValueError: what is no key at all, as a foreign line of a batch may have it.
        """
        return self._last.get(bytes.fromhex(key))

    def close(self) -> None:
        """Close the file and let others write."""
        self._file.close()
        # Before the release: afterwards the lock file may be another run's.
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.close()
