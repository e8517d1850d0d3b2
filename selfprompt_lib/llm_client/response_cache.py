"""The cache of replies: what was paid for is written down at once, and never asked again."""

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock

from ..errors import UserError, require


class ResponseCache(AbstractContextManager):
    """An append-only JSONL file with one line a reply, indexed by the row's key.

    A row may have several lines: a reply that could not be used, then the next attempt. Only the
    place of each key's last line is held in memory, so a file of any length can be used. A line
    that a kill cut short is dropped when the file is opened again.

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
        self._offsets: dict[bytes, int] = {}  # key → where its last line begins
        self._file = path.open("a+b")
        try:
            self._index()
        except UserError:
            self.close()
            raise

    def _index(self) -> None:
        self._file.seek(0)
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                require(line[:7] == b'{"key": '[: min(7, len(line))],
                        f"{self.path}: holds something else than replies; give another place")
                break
            try:
                row = json.loads(line)
                self._offsets[bytes.fromhex(row["key"])] = end
                require(row["outcome"] and row["attempt"] >= 0, "")
                self.dollars += row.get("dollars") or 0.0
            except (ValueError, KeyError, TypeError, RecursionError):
                raise UserError(f"{self.path}, line {number}: no reply with key, outcome and "
                                "attempt; delete the line") from None
            end += len(line)
        self._file.truncate(end)

    def append(self, row: dict[str, Any]) -> None:
        """Write one reply and flush it."""
        self._offsets[bytes.fromhex(row["key"])] = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n")
        self._file.flush()

    def last(self, key: str) -> dict[str, Any] | None:
        """The last reply for this key, or None."""
        offset = self._offsets.get(bytes.fromhex(key))
        if offset is None:
            return None
        self._file.seek(offset)
        return json.loads(self._file.readline())

    def close(self) -> None:
        """Close the file and let others write."""
        self._file.close()
        # Before the release: afterwards the lock file may be another run's.
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.close()
