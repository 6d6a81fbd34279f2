"""Measurements that are run by hand: what a choice was made by stays here, beside what it was chosen from."""
