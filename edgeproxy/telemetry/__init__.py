"""What a node tells about itself: counters and one record per request."""
