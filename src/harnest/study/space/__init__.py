"""The search space of a study, and the samplers that draw from it."""
