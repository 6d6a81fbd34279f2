"""Where clients and nodes are: networks, places on Earth, databases of locations. For the edge and the resolver alike."""
