"""Human activity recognition: the first field, as one task among others."""
