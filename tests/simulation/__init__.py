"""A whole CDN in one process and in virtual time: real nodes, real control state, and a network that is not kind."""
