"""Generated from proto/board/v1/board.proto by scripts/generate.py."""
