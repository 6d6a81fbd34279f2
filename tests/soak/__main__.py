"""Long searches, each with its seed and its figures: python -m tests.soak dns|connections|fill|store|disk"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.soak import connections, control, disk, dns, feed, fill, invalidation, store


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    search = names.add_parser("dns", help="any bytes at the resolver; networks with known round-trip times")
    search.add_argument("--inputs", type=int, default=1_000_000)
    search.add_argument("--prefixes", type=int, default=10_000)
    search.add_argument("--rounds", type=int, default=900)
    search.add_argument("--queries", type=int, default=1_000_000, help="made to fill the memory")
    crowd = names.add_parser("connections", help="what idle connections cost, and viewers that read nothing")
    crowd.add_argument("--idle", type=int, default=10_000)
    crowd.add_argument("--slow", type=int, default=1_000)
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
    drive = names.add_parser("disk", help="kill -9, damage, histories and a million objects at the disk tier")
    drive.add_argument("--seed", type=int, default=1)
    drive.add_argument("--kills", type=int, default=200)
    drive.add_argument("--damages", type=int, default=100)
    drive.add_argument("--histories", type=int, default=30)
    drive.add_argument("--objects", type=int, default=1_000_000)
    many = names.add_parser("feed", help="many nodes follow one control plane")
    many.add_argument("--nodes", type=int, default=1000)
    many.add_argument("--changes", type=int, default=20)
    plane = names.add_parser("control", help="the control plane killed at any moment: nothing accepted is lost")
    plane.add_argument("--cycles", type=int, default=200)
    plane.add_argument("--seed", type=int, default=None)
    days = names.add_parser("invalidation", help="the whole CDN in ten thousand bad days; /* over a million objects")
    days.add_argument("--histories", type=int, default=10_000)
    days.add_argument("--first", type=int, default=0, help="their first seed")
    days.add_argument("--objects", type=int, default=1_000_000)
    days.add_argument("--tell", type=int, default=None, metavar="SEED", help="only tell the story of this seed")
    options = parser.parse_args()
    match options.name:
        case "connections":
            return connections.run(options.idle, options.slow)
        case "fill":
            return fill.run(options.viewers, options.megabytes, options.big, options.herd)
        case "store":
            return store.run(options.rounds, options.damages, options.requests, options.objects, options.seed)
        case "disk":
            return disk.run(options.seed, options.kills, options.damages, options.objects, options.histories)
        case "feed":
            return asyncio.run(feed.run(options.nodes, options.changes))
        case "invalidation":
            return invalidation.run(options.histories, options.first, options.objects, options.tell)
        case "control":
            return asyncio.run(control.run(options.cycles, options.seed))
        case _:
            return dns.run(options.inputs, options.prefixes, options.rounds, options.queries)


if __name__ == "__main__":
    sys.exit(main())
