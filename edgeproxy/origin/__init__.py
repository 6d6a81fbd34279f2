"""A small honest web server: something for a CDN to stand in front of, in demos and in tests."""
