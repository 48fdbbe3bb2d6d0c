"""Watch, WaitFor and the watch caches, which follow the commits of each board."""
