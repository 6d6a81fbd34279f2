"""Following the control plane's feed: what a node knows of it, on its disk and in time (INVALIDATION.md)."""
