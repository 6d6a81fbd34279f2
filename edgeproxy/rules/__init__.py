"""RFC 9110 and RFC 9111 as functions: no await, no clock, no socket. CloudFront's tables lie over them as data."""
