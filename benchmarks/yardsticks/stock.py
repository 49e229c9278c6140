"""Yardstick (b): the study `quick` as templates of Lightning and Hydra do it.

    python stock.py -m TRIALS and SEED as hydra.sweeper.n_trials= and hydra.sweeper.sampler.seed=

Lightning with a DataLoader, ModelCheckpoint and MLFlowLogger, under the stock
hydra-optuna-sweeper and Hydra's basic launcher: it knows no pruner. Without -m it is one trial, for
``accelerator=gpu`` on a card; ``clock`` names the file that its median epoch is written to.
"""

import logging
import sys
from pathlib import Path

import hydra
import pytorch_lightning as L
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from network import LSTM
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassF1Score
from windows import windows

sys.path.append(str(Path(__file__).parents[1]))

from clock import Clock

BATCH = 64

ConfigStore.instance().store(
    name="stock",
    node={
        "defaults": [
            "_self_",
            {"override hydra/sweeper": "optuna"},
            {"override hydra/sweeper/sampler": "tpe"},
        ],
        "hidden_size": 64,
        "layers": 1,
        "dropout": 0.0,
        "pooling": "last",
        "lr": 1e-3,
        "accelerator": "cpu",
        "epochs": 8,
        "clock": None,
        "hydra": {
            "sweep": {"dir": "multirun"},
            "sweeper": {
                "direction": "maximize",
                "n_jobs": 1,
                "storage": "sqlite:///study.db",
                "study_name": "stock",
                "sampler": {"n_startup_trials": 5},
                "params": {
                    "hidden_size": "choice(32,64,96)",
                    "layers": "range(1,3)",
                    "dropout": "interval(0.0,0.5)",
                    "pooling": "choice(last,mean,attention)",
                    "lr": "tag(log,interval(3e-4,3e-2))",
                },
            },
        },
    },
)


class Module(L.LightningModule):
    """The network, its loss and its metrics."""

    def __init__(self, network: nn.Module, classes: int, lr: float, epochs: int) -> None:
        super().__init__()
        self.network = network
        self.lr = lr
        self.epochs = epochs
        self.f1 = MulticlassF1Score(classes, average="macro")

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.network(x), y)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        x, y = batch
        logits = self.network(x)
        self.f1(logits, y)
        self.log("val/loss", nn.functional.cross_entropy(logits, y))
        self.log("val/macro_f1", self.f1)

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def train(cfg: DictConfig) -> float:
    """One trial: the best macro-F1 that an epoch reached on the validation windows."""
    L.seed_everything(0, verbose=False)
    parts = PARTS
    classes = int(parts["train"][1].max()) + 1
    network = LSTM(
        channels=parts["train"][0].shape[2],
        classes=classes,
        hidden_size=cfg.hidden_size,
        layers=cfg.layers,
        dropout=cfg.dropout,
        pooling=cfg.pooling,
    )
    folder = Path(HydraConfig.get().runtime.output_dir)
    store = f"sqlite:///{Path(hydra.utils.get_original_cwd()) / 'mlflow.db'}"
    checkpoint = ModelCheckpoint(folder, monitor="val/macro_f1", mode="max", save_last=True)
    trainer = L.Trainer(
        accelerator=cfg.accelerator,
        devices=1,
        max_epochs=cfg.epochs,
        gradient_clip_val=1.0,
        logger=MLFlowLogger("stock", tracking_uri=store, log_model=True),
        callbacks=[checkpoint, *([Clock(file=cfg.clock)] if cfg.clock else [])],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,
    )
    loaders = [
        DataLoader(TensorDataset(*parts[part]), BATCH, shuffle=part == "train") for part in parts
    ]
    trainer.fit(Module(network, classes, cfg.lr, cfg.epochs), *loaders)
    return float(checkpoint.best_model_score)


if __name__ == "__main__":
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    PARTS = windows()  # before Hydra starts: they are composed as well
    hydra.main(None, "stock", execution_whitelist=["hydra_plugins.*", "optuna.*"])(train)()
