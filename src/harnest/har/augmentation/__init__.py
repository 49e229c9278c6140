"""Augmentation: training windows as they might have been recorded, too."""
