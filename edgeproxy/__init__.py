"""edgeproxy: a content delivery tier that runs as a POP or as a regional edge cache."""

__version__ = "0.1.0"
