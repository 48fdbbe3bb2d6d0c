"""The settings of `board serve`, and the flags, environment and file that give them."""
