"""python -m edgeproxy"""

from edgeproxy.cli import entry

entry()
