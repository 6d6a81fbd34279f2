"""The next hop: an HTTP/1.1 client with pooled connections, made for streaming."""
