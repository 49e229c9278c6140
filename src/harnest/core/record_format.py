"""The format of what studies and runs leave behind."""

#: Counts up with each change after which older records cannot be read. 1 had no number.
RECORD_FORMAT = 2
