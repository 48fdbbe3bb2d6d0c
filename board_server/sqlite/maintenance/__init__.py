"""Keeping board files: back them up, restore, examine and compact them. No server is needed.

`python -m board_server.sqlite.maintenance --help` tells how; `board backup` and its
kin come here.
"""
