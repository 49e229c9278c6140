"""Errors that the user can fix; the text of each says how."""


class HarnestError(Exception):
    """A problem that the user can mend; the command line shows its message alone, exit code 2."""


class ConfigError(HarnestError):
    """A config that names something that does not exist, or a value that cannot be used."""


class DataError(HarnestError):
    """Data that are missing, damaged, too small, or of another data set."""


class StudyError(HarnestError):
    """A study that cannot be opened, run or continued."""


class TrackingError(HarnestError):
    """A tracking server or store that cannot be used, or a run that it does not know."""


class CheckpointError(HarnestError):
    """A checkpoint that is missing, damaged, or of another architecture."""


class DivergedError(HarnestError, FloatingPointError):
    """Training whose loss or objective is not a number any more."""
