"""Long searches, each with its seed and its figures: python -m tests.soak dns|fill|store"""

from __future__ import annotations

import argparse
import sys

from tests.soak import disk, dns, fill, store


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    search = names.add_parser("dns", help="any bytes at the resolver; networks with known round-trip times")
    search.add_argument("--inputs", type=int, default=1_000_000)
    search.add_argument("--prefixes", type=int, default=10_000)
    search.add_argument("--rounds", type=int, default=900)
    large = names.add_parser("fill", help="large bodies and many viewers: flat memory, cheap ranges, one fetch for all")
    large.add_argument("--viewers", type=int, default=200)
    large.add_argument("--megabytes", type=int, default=100)
    large.add_argument("--big", type=int, default=5000, help="MB of the one that goes through two tiers")
    large.add_argument("--herd", type=int, default=1000)
    kept = names.add_parser("store", help="restarts, kill -9, damaged files, a full disk")
    kept.add_argument("--rounds", type=int, default=200)
    kept.add_argument("--damages", type=int, default=2000)
    kept.add_argument("--requests", type=int, default=3000)
    kept.add_argument("--objects", type=int, default=20_000)
    kept.add_argument("--seed", type=int, default=1)
    tier = names.add_parser("disk", help="kill -9, damage, histories and a million objects at the disk tier")
    tier.add_argument("--seed", type=int, default=1)
    tier.add_argument("--kills", type=int, default=200)
    tier.add_argument("--damages", type=int, default=100)
    tier.add_argument("--histories", type=int, default=30)
    tier.add_argument("--objects", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.name == "disk":
        return disk.run(options.seed, options.kills, options.damages, options.objects, options.histories)
    if options.name == "fill":
        return fill.run(options.viewers, options.megabytes, options.big, options.herd)
    if options.name == "store":
        return store.run(options.rounds, options.damages, options.requests, options.objects, options.seed)
    return dns.run(options.inputs, options.prefixes, options.rounds)


if __name__ == "__main__":
    sys.exit(main())
