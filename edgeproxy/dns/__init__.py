"""The resolver: an authoritative DNS server that sends each client to its best POP.

A datagram's way: server (sockets, rate limits) → memo (known by its bytes?) → answer → query (bytes to question) → zone
(what the name is) → policy (which POP: networks, latency, location and geography) → answer (bytes again). Beside it,
parts puts together what the policy lives on: health (asks the POPs; standing judges) and latency (what they measured).
All but server, tcp, health, parts, admin, querylog and the reader of databases in location are functions of their
arguments.
"""
