"""Measurements, beside other servers or of what was chosen from: python -m tests.bench [NAME] [its options]

Without a name, edgeproxy is measured beside nginx and Varnish (`http`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.bench import dns, http, policies

BENCHES = {
    "http": (http, "a node beside nginx and Varnish (the default)"),
    "dns": (dns, "the resolver beside gdnsd and PowerDNS"),
    "policies": (policies, "what the memory tier evicts: hit ratios and costs of three policies"),
}
"""Modules with `arguments(parser)` and `run(options) -> exit code`, and what they measure."""


def main(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, (bench, measured) in BENCHES.items():
        bench.arguments(names.add_parser(name, help=measured, description=bench.__doc__))
    if not given or (given[0] not in BENCHES and given[0] not in ("-h", "--help")):
        given = ["http", *given]
    options = parser.parse_args(given)
    code: int = BENCHES[options.name][0].run(options)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
