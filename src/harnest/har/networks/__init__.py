"""Models: networks, and the classifier that trains them."""

#: What the classifier logs in each epoch and a run can be judged by; by the last one where all
#: subjects are trained on.
METRICS = ("val/loss", "val/accuracy", "val/macro_f1", "train/loss")
