"""The package's size: lines, modules, longest module, import circles. `python tests/bench/house.py`"""

import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from selfprompt_lib.digests import imported_modules, package_modules


def main() -> None:
    """Print the figures, and the lines of each room."""
    lines = {name: len(path.read_text(encoding="utf-8").splitlines())
             for name, path in package_modules().items()}
    longest = max(lines, key=lines.get)
    print(f"lines    {sum(lines.values()):,}")
    print(f"modules  {len(lines)}")
    print(f"longest  {longest}, {lines[longest]} lines")
    try:
        TopologicalSorter({name: imported_modules(name) for name in lines}).prepare()
        print("circles  none, lazy imports counted")
    except CycleError as error:
        print(f"circles  {' -> '.join(reversed(error.args[1]))}, lazy imports counted")
    rooms = defaultdict(list)
    for name, count in lines.items():
        rooms[(name.split(".") + ["(face)"])[1]].append(count)
    for room, counts in sorted(rooms.items(), key=lambda pair: -sum(pair[1])):
        print(f"  {sum(counts):>5,} lines in {len(counts):>2} modules  {room}")


if __name__ == "__main__":
    main()
