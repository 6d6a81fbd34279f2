"""Long searches, each with its figures: python -m tests.soak dns|connections"""

from __future__ import annotations

import argparse
import sys

from tests.soak import connections, dns


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    search = names.add_parser("dns", help="any bytes at the resolver; networks with known round-trip times")
    search.add_argument("--inputs", type=int, default=1_000_000)
    search.add_argument("--prefixes", type=int, default=10_000)
    search.add_argument("--rounds", type=int, default=900)
    crowd = names.add_parser("connections", help="what idle connections cost, and viewers that read nothing")
    crowd.add_argument("--idle", type=int, default=10_000)
    crowd.add_argument("--slow", type=int, default=1_000)
    options = parser.parse_args()
    if options.name == "connections":
        return connections.run(options.idle, options.slow)
    return dns.run(options.inputs, options.prefixes, options.rounds)


if __name__ == "__main__":
    sys.exit(main())
