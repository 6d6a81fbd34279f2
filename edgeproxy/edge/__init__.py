"""The node: connections, the life of a request, one fill per key, what workers share."""
