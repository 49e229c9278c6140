"""Predictions that no model made, and what a page of figures shows of them."""

import json
import re

import numpy as np

from harnest.har.predictions import Predictions

HISTORY = {
    f"{part}/{name}": [(epoch, 1 / (epoch + 1)) for epoch in range(4)]
    for part in ("train", "val")
    for name in ("loss", "accuracy", "macro_f1")
}


def made_predictions(labels, predicted, activities=("walk", "run", "sit"), channels=2):
    generator = np.random.default_rng(0)
    probabilities = np.full((len(labels), len(activities)), 0.1, np.float32)
    probabilities[np.arange(len(labels)), predicted] = 0.8
    return Predictions(
        part="validation",
        data_set="made",
        signals=generator.normal(size=(len(labels), 50, channels)).astype(np.float32),
        labels=np.array(labels),
        subjects=np.arange(len(labels)) % 3 + 1,
        probabilities=probabilities,
        activities=activities,
        channels=tuple(f"c{number} [g]" for number in range(channels)),
        rate=25.0,
    )


def figures_in(folder):
    text = (folder / "figures.html").read_text()
    found = re.search(r'<script id="figures"[^>]*>(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])
