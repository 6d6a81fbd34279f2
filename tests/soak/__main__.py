"""Long searches, each with its seed and its figures: python -m tests.soak dns"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.soak import control, dns, feed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    search = names.add_parser("dns", help="any bytes at the resolver; networks with known round-trip times")
    search.add_argument("--inputs", type=int, default=1_000_000)
    search.add_argument("--prefixes", type=int, default=10_000)
    search.add_argument("--rounds", type=int, default=900)
    search.add_argument("--queries", type=int, default=1_000_000, help="made to fill the memory")
    search = names.add_parser("feed", help="many nodes follow one control plane")
    search.add_argument("--nodes", type=int, default=1000)
    search.add_argument("--changes", type=int, default=20)
    search = names.add_parser("control", help="the control plane killed at any moment: nothing accepted is lost")
    search.add_argument("--cycles", type=int, default=200)
    search.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    match options.name:
        case "feed":
            return asyncio.run(feed.run(options.nodes, options.changes))
        case "control":
            return asyncio.run(control.run(options.cycles, options.seed))
        case _:
            return dns.run(options.inputs, options.prefixes, options.rounds, options.queries)


if __name__ == "__main__":
    sys.exit(main())
