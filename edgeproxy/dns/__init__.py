"""The resolver: an authoritative DNS server that sends each client to its POP.

A datagram's way: server (sockets) → answer → query (bytes to question) → zone (what the name is) → policy (which POP)
→ answer (bytes again). All but the server are functions of their arguments.
"""
