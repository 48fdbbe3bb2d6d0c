"""Benchmarks: the board against a bare echo and etcd. `make bench` runs them all."""
