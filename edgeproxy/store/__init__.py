"""Heads and bytes by key. The store knows no caching rules: it is told what to keep, and until when."""
