"""What everything else is built on: errors, secrets, suggestions. It imports nothing heavy."""
