"""Prepared windows to batches: each window once an epoch, in an order that can be repeated."""

from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as L
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import SingleDeviceStrategy

from harnest.har.data.data_module import DeviceLoader, EpochBatchSampler, WindowModule
from harnest.har.data.prepare import prepare
from harnest.har.data.splits import split
from made import data_set

COUNTS = st.integers(1, 60)
SIZES = st.integers(1, 20)


def batches(count, size, **options):
    """Windows whose only value is their number, which is their label too."""
    numbers = torch.arange(count)
    return DeviceLoader(
        numbers.float()[:, None, None], numbers, EpochBatchSampler(count, size, **options)
    )


def numbers(made):
    """The windows that a pass meets, in order; signals and labels belong together."""
    met = []
    for signals, labels in made:
        assert torch.equal(signals[:, 0, 0].long(), labels)
        met.append(labels)
    return torch.cat(met).tolist()


@given(count=COUNTS, size=SIZES, seed=st.none() | st.integers(0, 2**40))
def test_each_pass_meets_every_window_once_in_full_batches_but_the_last(count, size, seed):
    made = batches(count, size, key=None if seed is None else lambda: seed)
    assert sorted(numbers(made)) == list(range(count))
    sizes = [len(labels) for _, labels in made]
    assert len(made) == len(sizes)
    assert all(each == size for each in sizes[:-1])
    assert 1 <= sizes[-1] <= size


def test_windows_that_are_only_judged_keep_their_order():
    assert numbers(batches(10, 4)) == list(range(10))


@given(count=COUNTS, size=SIZES, world=st.integers(1, 8), seed=st.none() | st.integers(0, 10**6))
def test_devices_share_a_pass_without_loss(count, size, world, seed):
    key = None if seed is None else lambda: seed
    shares = [batches(count, size, key=key, rank=rank, world=world) for rank in range(world)]
    met = [numbers(share) for share in shares]
    assert {number for share in met for number in share} == set(range(count))
    assert {len(share) for share in met} == {-(-count // world)}  # no device waits for another
    assert all(len(share) == sum(1 for _ in share) for share in shares)
    twice = sum(map(len, met)) - count
    assert 0 <= twice < world


def module(folder, *, seed=0, size=4, epoch=0, **trainer):
    source = SimpleNamespace(
        name="made",
        digest=lambda: "1",
        read=lambda: data_set({subject: [90, 70] for subject in range(1, 6)}),
    )
    windows = prepare(source, window=1.0, step=0.5, cache=folder)
    parts = split(windows.subjects, windows.labels, validation=[2], test=[4], seed=0)
    made = WindowModule(windows, parts, batch_size=size, seed=seed)
    progress = SimpleNamespace(current=SimpleNamespace(processed=epoch))
    fit_loop = SimpleNamespace(epoch_progress=progress)
    made.trainer = SimpleNamespace(
        **{
            "strategy": SimpleNamespace(root_device=torch.device("cpu")),
            "global_rank": 0,
            "world_size": 1,
            "fit_loop": fit_loop,
            "overfit_batches": 0.0,
        }
        | trainer
    )
    return made


def begin(made, epoch):
    made.trainer.fit_loop.epoch_progress.current.processed = epoch


def met(batches):
    return np.concatenate([signals[:, 0, 0].numpy() for signals, _ in batches])


def test_a_part_holds_the_windows_of_its_subjects(tmp_path):
    made = module(tmp_path)
    for part, subjects in (("train", {1, 3, 5}), ("validation", {2}), ("test", {4})):
        signals, labels = made.tensors(part)
        assert set((signals[:, 0, 0] // 1000).int().tolist()) == subjects
        assert len(signals) == len(labels) == len(getattr(made.split, part))
        assert set(labels.tolist()) == {0, 1}
    for part, loader in (("validation", made.val_dataloader()), ("test", made.test_dataloader())):
        assert np.array_equal(met(loader), made.tensors(part)[0][:, 0, 0])
        assert np.array_equal(met(loader), met(loader))


def test_the_order_of_training_depends_on_seed_and_epoch_alone(tmp_path):
    def order(seed, epoch):
        torch.manual_seed(np.random.default_rng().integers(2**31))
        return met(module(tmp_path, seed=seed, epoch=epoch).train_dataloader()).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1) != order(1, 0)
    assert sorted(order(0, 0)) == sorted(order(3, 2))


def test_each_epoch_of_one_loader_has_its_own_order(tmp_path):
    made = module(tmp_path)
    loader = made.train_dataloader()
    first = met(loader).tolist()
    begin(made, 1)
    assert met(loader).tolist() != first
    begin(made, 0)
    assert met(loader).tolist() == first


def test_making_batches_draws_no_random_number(tmp_path):
    before = torch.get_rng_state()
    met(module(tmp_path).train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_overfitting_meets_the_same_batches_each_epoch(tmp_path):
    first = met(module(tmp_path, overfit_batches=2).train_dataloader())
    assert np.array_equal(
        first, met(module(tmp_path, overfit_batches=2, epoch=1).train_dataloader())
    )


@pytest.mark.parametrize("world", [2, 3])
def test_devices_of_one_run_share_the_training_windows(tmp_path, world):
    shares = [
        met(module(tmp_path, global_rank=rank, world_size=world).train_dataloader())
        for rank in range(world)
    ]
    alone = met(module(tmp_path).train_dataloader())
    assert set(np.concatenate(shares)) == set(alone)


@pytest.mark.parametrize(("free", "whole", "does"), [(0, 10**9, True), (10**9, 2000, False)])
def test_whether_windows_fit_is_the_same_on_a_full_gpu(tmp_path, monkeypatch, free, whole, does):
    """There need be no GPU: it is only asked for its memory."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, whole))
    assert module(tmp_path).fits(torch.device("cuda", 0)) == does


def test_windows_that_a_gpu_has_no_room_for_are_the_same_batches(tmp_path, monkeypatch, caplog):
    """There need be no GPU: it is only asked for its memory, and full."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    gpu = SimpleNamespace(root_device=torch.device("cuda", 0))
    caplog.set_level("INFO", "harnest")
    full, alone = module(tmp_path, strategy=gpu), module(tmp_path)
    loader, resident = full.train_dataloader(), alone.train_dataloader()
    assert len(loader) == len(resident)
    before = torch.get_rng_state()
    for epoch in (0, 1):
        begin(full, epoch)
        begin(alone, epoch)
        for ours, theirs in zip(loader, resident, strict=True):
            assert all(map(torch.equal, ours, theirs))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(met(full.val_dataloader()), met(alone.val_dataloader()))
    assert "the train windows stay in main memory" in caplog.text


class Meets(L.LightningModule):
    """Learns nothing of use, and notes which windows each training batch holds."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs = {}

    def training_step(self, batch, batch_idx):
        windows = batch[0][:, 0, 0].tolist()
        self.epochs.setdefault(self.current_epoch, []).append(windows)
        return self.weight

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture(params=["on the device", "in main memory"])
def fitted(request, tmp_path):
    """Train, keep a checkpoint of each epoch's end, and give the batches that it met."""

    def fit(epochs, *, resume=None, **options):
        kept = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        trainer = L.Trainer(
            accelerator="cpu",
            # Another name of the processor: no tensor is said to be there.
            strategy="auto" if request.param == "on the device" else SingleDeviceStrategy("cpu:0"),
            max_epochs=epochs,
            callbacks=kept,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )
        meets = Meets()
        trainer.fit(meets, datamodule=module(tmp_path), ckpt_path=resume)
        return meets.epochs

    return fit


def test_a_run_that_goes_on_meets_the_batches_of_one_never_stopped(fitted, tmp_path):
    whole = fitted(3)
    assert len({str(epoch) for epoch in whole.values()}) == 3
    assert fitted(3, resume=tmp_path / "epoch=0.ckpt") == {1: whole[1], 2: whole[2]}


def test_lightning_overfits_the_first_batches_as_they_are(fitted, tmp_path):
    windows = module(tmp_path).tensors("train")[0][:, 0, 0].tolist()
    first = [windows[:4], windows[4:8]]
    assert fitted(2, overfit_batches=2) == {0: first, 1: first}
