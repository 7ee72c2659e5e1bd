"""Watching a server: what is counted, and how it gets out (gRPC, Prometheus)."""
