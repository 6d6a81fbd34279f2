"""The control plane: who the nodes are, how they do, and what all of them must do at once."""
