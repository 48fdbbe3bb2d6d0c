"""Files of the server: locks, reloading on change, atomic replacement, ownership."""
