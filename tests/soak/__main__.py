"""Long searches, each with its seed and its figures: python -m tests.soak dns"""

from __future__ import annotations

import argparse
import sys

from tests.soak import disk, dns


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    search = names.add_parser("dns", help="any bytes at the resolver; networks with known round-trip times")
    search.add_argument("--inputs", type=int, default=1_000_000)
    search.add_argument("--prefixes", type=int, default=10_000)
    search.add_argument("--rounds", type=int, default=900)
    search = names.add_parser("disk", help="kill -9, damage, histories and a million objects at the disk tier")
    search.add_argument("--seed", type=int, default=1)
    search.add_argument("--kills", type=int, default=200)
    search.add_argument("--damages", type=int, default=100)
    search.add_argument("--histories", type=int, default=30)
    search.add_argument("--objects", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.name == "disk":
        return disk.run(options.seed, options.kills, options.damages, options.objects, options.histories)
    return dns.run(options.inputs, options.prefixes, options.rounds)


if __name__ == "__main__":
    sys.exit(main())
