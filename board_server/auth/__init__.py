"""Authentication and authorization: tokens, roles, client certificates, `board token`."""
