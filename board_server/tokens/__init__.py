"""Tokens: the file of them, and the commands that write it."""

from board_server.tokens.file import BadTokens, Tokens

__all__ = ["BadTokens", "Tokens"]
