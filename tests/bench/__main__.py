"""Measurements, beside other servers or of what was chosen from: python -m tests.bench NAME [its options]"""

from __future__ import annotations

import argparse
import sys

from tests.bench import disk, dns, policies

BENCHES = {
    "disk": (disk, "the disk tier beside a file per object"),
    "dns": (dns, "the resolver beside gdnsd and PowerDNS"),
    "policies": (policies, "what the memory tier evicts: hit ratios and costs of three policies"),
}
"""Modules with `arguments(parser)` and `run(options) -> exit code`, and what they measure."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, (bench, measured) in BENCHES.items():
        bench.arguments(names.add_parser(name, help=measured))
    options = parser.parse_args()
    code: int = BENCHES[options.name][0].run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
