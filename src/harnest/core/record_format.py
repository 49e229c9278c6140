"""The format number of recorded studies and runs."""

#: Counts up with each change after which older records cannot be read. 1 had no number.
RECORD_FORMAT = 2
