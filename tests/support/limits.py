"""How long a test waits for what has to come."""

#: Seconds. It tells a hang from slowness and nothing else: no test may depend on how fast the
#: machine is. pytest-timeout's own limit, in pyproject.toml, is longer, so that a test that
#: waits in vain fails with its own words.
HANG_TIMEOUT = 400.0
