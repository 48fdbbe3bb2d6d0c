"""Files of the server: locked between processes, read again when changed, given to their owner."""
