"""``python -m callpipeline_tests.simulators assemblyai|openai|both``: a simulator for a person.

It prints what to export, so that the product uses it, and runs until Ctrl-C.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from pathlib import Path

from callpipeline_tests.simulators.latency import Latency
from callpipeline_tests.simulators.options import RateLimit
from callpipeline_tests.simulators.running import (
    AssemblyAISimulator,
    OpenAISimulator,
    Simulator,
    from_options,
)

_SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples_src"
_EPILOG = """\
latency: none, fixed:S, lognormal:MEAN,SIGMA[,SEED], audio:FACTOR[,BASE], tokens:FACTOR[,BASE[,SIGMA[,SEED]]]
         (seconds)
faults:  [ROUTE/]KIND[:VALUE][@after]=RATE, such as 429:2=0.05 submit/reset@after=0.02 storm=0.2; kinds:
         a status, quota, reset, stall, truncated, wrong_type, expired, job_error. While it runs:
         curl -X POST URL/_sim/faults -d '{"script": {"submit": ["500", "ok", "429:1"]}}'
figures: curl URL/_sim/stats, URL/_sim/calls, URL/_sim/jobs; start anew: curl -X POST URL/_sim/reset
"""


def _child(api: str, options: str) -> int:
    """Serve until standard input closes; the port is the only line of output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with from_options(api, options) as simulator:
        print(simulator.port, flush=True)
        sys.stdin.read()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m callpipeline_tests.simulators",
        description="Simulate AssemblyAI and OpenAI on this machine: no account, no cost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("api", choices=("assemblyai", "openai", "both"))
    parser.add_argument(
        "--port", type=int, default=0, help="default any free one; 'both' also takes the next"
    )
    parser.add_argument("--latency", default="none", help="time of a job or an answer")
    parser.add_argument("--http-latency", default="none", help="time of every request besides")
    parser.add_argument("--faults", nargs="*", default=(), metavar="FAULT=RATE")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument(
        "--dialogues",
        type=Path,
        default=_SAMPLES if _SAMPLES.is_dir() else None,
        help="folder with expected/*.json: right answers for the sample calls (default %(default)s)",
    )
    parser.add_argument("--concurrency", type=int, default=5, help="AssemblyAI jobs processed at once")
    parser.add_argument(
        "--requests-per-minute", type=int, default=None, help="OpenAI: of each kind of endpoint"
    )
    parser.add_argument(
        "--tokens-per-minute", type=int, default=None, help="OpenAI: of each kind of endpoint"
    )
    return parser


def _simulators(args: argparse.Namespace) -> list[Simulator]:
    latency, http_latency = Latency.parse(args.latency), Latency.parse(args.http_latency)
    limit = RateLimit(requests=args.requests_per_minute, tokens=args.tokens_per_minute)
    simulators: list[Simulator] = []
    if args.api in ("assemblyai", "both"):
        simulators.append(
            AssemblyAISimulator(
                concurrency=args.concurrency,
                latency=latency,
                http_latency=http_latency,
                faults=args.faults,
                seed=args.seed,
                dialogues=args.dialogues,
                port=args.port,
            )
        )
    if args.api in ("openai", "both"):
        simulators.append(
            OpenAISimulator(
                latency=latency,
                http_latency=http_latency,
                limits=dict.fromkeys(("audio", "chat", "embeddings"), limit),
                faults=args.faults,
                seed=args.seed,
                dialogues=args.dialogues,
                port=args.port + 1 if args.port and args.api == "both" else args.port,
            )
        )
    return simulators


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit status."""
    if arguments[:1] == ["--child"]:
        return _child(*arguments[1:])
    args = _parser().parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    simulators: list[Simulator] = []
    try:
        simulators = _simulators(args)
        for simulator in simulators:
            simulator.start()
            for name, value in simulator.environment().items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
        stopped.wait()
    except (ValueError, OSError) as error:
        print(f"simulators: {error}", file=sys.stderr)
        return 2
    finally:
        for simulator in simulators:
            simulator.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
