"""The gRPC server: ports and TLS, and what each call passes through before its method."""
