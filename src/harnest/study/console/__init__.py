"""Terminal output of a study."""
