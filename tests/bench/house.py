"""What the package measures: lines, modules, longest module, wide lines and import circles. `python tests/bench/house.py`"""

import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_house import LONGEST, WIDEST, imported, modules


def main() -> None:
    """Print the figures, and the lines of each room."""
    known = modules()
    texts = {name: path.read_text(encoding="utf-8").splitlines() for name, path in known.items()}
    graph = {name: set(imported(name, path, known)) - {name} for name, path in known.items()}
    longest = max(texts, key=lambda name: len(texts[name]))
    wide = sum(len(line) > WIDEST for lines in texts.values() for line in lines)
    print(f"{sum(map(len, texts.values())):,} lines in {len(texts)} modules")
    print(f"longest: {longest}, {len(texts[longest])} lines; over {LONGEST}: "
          f"{sum(len(lines) > LONGEST for lines in texts.values())}")
    print(f"lines over {WIDEST} columns: {wide:,}")
    try:
        TopologicalSorter(graph).prepare()
        print("import circles, lazy imports counted: none")
    except CycleError as error:
        print(f"an import circle, lazy imports counted: {' -> '.join(reversed(error.args[1]))}")
    rooms: dict[str, list[int]] = {}
    for name, lines in texts.items():
        rooms.setdefault((name.split(".") + ["(face)"])[1], []).append(len(lines))
    for room, lengths in sorted(rooms.items(), key=lambda pair: -sum(pair[1])):
        print(f"  {sum(lengths):>5,} lines in {len(lengths):>2} modules  {room}")


if __name__ == "__main__":
    main()
