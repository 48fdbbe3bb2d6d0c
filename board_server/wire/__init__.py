"""Protobuf to the model and back: validation, page tokens, error statuses. Pure."""
