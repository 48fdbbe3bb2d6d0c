"""Maintenance of board files: backup, restore, doctor and compact. No server is needed.

`board backup`, `restore`, `doctor` and `compact` run this; see
`python -m board_server.sqlite.maintenance --help`.
"""
