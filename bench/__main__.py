"""Run one benchmark and say what it found.

Each benchmark is a module of this package with ``run(scale) -> Result``; the docstring says what it measures.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from bench.result import Scale

NAMES = (
    "calls500",
    "codecs",
    "crash",
    "gate",
    "graph",
    "hearing",
    "orchestration",
    "rerun",
    "service",
    "speech",
    "warm",
    "wer",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--scale", choices=[s.value for s in Scale], default=Scale.SMALL.value)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    arguments = parser.parse_args()
    result = importlib.import_module(f"bench.{arguments.name}").run(Scale(arguments.scale))
    if arguments.json:
        sys.stdout.write(json.dumps(result.as_dict()) + "\n")
    else:
        sys.stdout.write(result.as_text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
