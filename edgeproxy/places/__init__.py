"""Where clients and nodes are: networks, places on Earth, databases of locations. For edge and resolver alike."""
