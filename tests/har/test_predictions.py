"""Scores against other people's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torchmetrics.functional.classification import multiclass_f1_score

from harnest.har.predictions import confusion, macro_f1, per_class

CLASSES = 4
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(PAIRS)
def test_scores_are_those_of_scikit_learn_and_torchmetrics(pairs):
    labels, predicted = np.array(pairs).T
    matrix = confusion(labels, predicted, CLASSES)
    everyone = list(range(CLASSES))
    assert (matrix == confusion_matrix(labels, predicted, labels=everyone)).all()
    theirs = precision_recall_fscore_support(
        labels, predicted, labels=everyone, zero_division=np.nan
    )
    ours = per_class(matrix)
    np.testing.assert_allclose(ours["precision"], theirs[0])
    np.testing.assert_allclose(ours["recall"], theirs[1])
    occurs = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    np.testing.assert_allclose(ours["F1"][occurs], np.nan_to_num(theirs[2][occurs]))
    wanted = multiclass_f1_score(
        torch.tensor(predicted), torch.tensor(labels), CLASSES, average="macro"
    )
    assert macro_f1(matrix) == pytest.approx(wanted.item(), abs=1e-6)
