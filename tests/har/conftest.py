import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small are fastest with one, above all where several tests run at once."""
    torch.set_num_threads(1)
