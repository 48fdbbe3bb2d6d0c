"""Files of the server: locked, read again when changed, replaced atomically, given an owner."""
