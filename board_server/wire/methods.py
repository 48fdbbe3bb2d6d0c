"""What the descriptor of the service does not say about its methods."""

LONG_RUNNING = frozenset({"Watch", "WaitFor"})
"""Methods whose calls last as long as their callers like."""
