"""The board server: one gRPC service over a store of boards."""
