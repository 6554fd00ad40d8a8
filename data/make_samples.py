"""Make the shipped sample calls from the dialogue files in ``samples_src/calls``.

``python data/make_samples.py`` makes all of them, ``python data/make_samples.py NAME...`` only those named.
Every run also brings ``samples/manifest.csv`` up to date, and prints a table. The same dialogue file gives
the same bytes on the same versions of flite and PyAV. What it may say: ``samples_src/README.md``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DATA = Path(__file__).resolve().parent
sys.path.insert(0, str(DATA))

from sample_maker.making import MadeSample, make_sample, strangers, write_manifest  # noqa: E402
from sample_maker.script import Script, ScriptError, load_scripts  # noqa: E402
from sample_maker.voices import FliteMissingError  # noqa: E402


def _chosen(scripts: dict[str, Script], names: list[str]) -> list[Script]:
    """Return the named scripts and their duplicates, all without names; duplicates come last."""
    unknown = sorted(set(names) - set(scripts))
    if unknown:
        raise ScriptError(
            f"no dialogue file named {', '.join(unknown)}; there are: {', '.join(sorted(scripts))}"
        )
    wanted = [s for s in scripts.values() if not names or {s.name, s.duplicate_of} & set(names)]
    return sorted(wanted, key=lambda s: (s.duplicate_of is not None, s.name))


def _print_table(made: list[MadeSample]) -> None:
    """Print what was made, one line a sample, and the totals."""
    print(f"{'name':34} {'kind':10} {'rate':>5} {'ch':>2} {'seconds':>7} {'speech':>6} {'kB':>6}  verdicts")
    for m in made:
        print(
            f"{m.name:34} {m.kind:10} {m.sample_rate or '-':>5} {m.channels or '-':>2} {m.duration:7.1f} "
            f"{m.speech_seconds:6.1f} {m.bytes / 1000:6.0f}  {m.verdicts}"
        )
    seconds = sum(m.duration for m in made)
    speech = sum(m.speech_seconds for m in made)
    print(
        f"{len(made)} samples, {seconds / 60:.1f} min of audio, {speech / 60:.1f} min of speech, "
        f"{sum(m.bytes for m in made) / 1e6:.2f} MB"
    )


def main() -> int:
    """Make the samples that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the shipped sample calls from their dialogue files.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="dialogue file without .toml; default all")
    parser.add_argument("--samples", type=Path, default=DATA / "samples", help="where the recordings go")
    parser.add_argument("--source", type=Path, default=DATA / "samples_src", help="has calls/ and expected/")
    args = parser.parse_args()
    try:
        scripts = load_scripts(args.source / "calls")
        made = [
            make_sample(script, scripts, samples=args.samples, expected=args.source / "expected")
            for script in _chosen(scripts, args.names)
        ]
    except (ScriptError, FliteMissingError) as error:
        print(f"make_samples: {error}", file=sys.stderr)
        return 2
    write_manifest(scripts.values(), args.samples / "manifest.csv")
    _print_table(made)
    for path in strangers(scripts.values(), args.samples):
        print(f"not made by any dialogue file: {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
