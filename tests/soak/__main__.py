"""Long searches, each with its seed and its figures: python -m tests.soak dns"""

from __future__ import annotations

import argparse
import sys

from tests.soak import dns


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    search = names.add_parser("dns", help="any bytes at the resolver; networks with known round-trip times")
    search.add_argument("--inputs", type=int, default=1_000_000)
    search.add_argument("--prefixes", type=int, default=10_000)
    search.add_argument("--rounds", type=int, default=900)
    search.add_argument("--queries", type=int, default=1_000_000, help="made to fill the memory")
    options = parser.parse_args()
    return dns.run(options.inputs, options.prefixes, options.rounds, options.queries)


if __name__ == "__main__":
    sys.exit(main())
