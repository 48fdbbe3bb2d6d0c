"""The gRPC server: listeners, TLS, handlers, limits and the servicer."""
