"""Watch, WaitFor and the watch caches: all that receives the commits of a board."""
