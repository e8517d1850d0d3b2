#!/bin/sh
# Linux and macOS: sh @COMMAND@.sh [FOLDER]     (FOLDER is ~/selfprompt if none is given)
for name in python@PYTHON@ python3 python; do
  if command -v "$name" >/dev/null 2>&1; then
    exec "$name" "$(dirname "$0")/stick.py" @COMMAND@ "$@"
  fi
done
echo "[FAIL] no Python here: install Python @PYTHON@ and call this again"
exit 1
