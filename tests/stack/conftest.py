"""The stack's files are in a checkout only, and so is what there is to test."""

from compose import FILE

collect_ignore_glob = [] if FILE.is_file() else ["test_*.py"]
