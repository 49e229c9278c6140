"""Yardstick (a): the study `quick` as people write it by hand with Optuna, PyTorch and MLflow.

    python by_hand.py TRIALS SEED

One process, one trial after the other, a median pruner, each trial a nested MLflow run.
"""

import sys

import mlflow
import optuna
import torch
from network import LSTM
from torch import nn
from torchmetrics.functional.classification import multiclass_f1_score
from windows import windows

EPOCHS, BATCH = 8, 64
PARTS = windows()
CLASSES = int(PARTS["train"][1].max()) + 1


def objective(trial: optuna.Trial) -> float:
    """Train once; the best macro-F1 that an epoch reached on the validation windows."""
    torch.manual_seed(0)
    network = LSTM(
        channels=PARTS["train"][0].shape[2],
        classes=CLASSES,
        hidden_size=trial.suggest_categorical("hidden_size", [32, 64, 96]),
        layers=trial.suggest_int("layers", 1, 2),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        pooling=trial.suggest_categorical("pooling", ["last", "mean", "attention"]),
    )
    lr = trial.suggest_float("lr", 3e-4, 3e-2, log=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    best = 0.0
    with mlflow.start_run(run_name=f"trial-{trial.number}", nested=True):
        mlflow.log_params(trial.params)
        for epoch in range(EPOCHS):
            loss = train(network, optimizer)
            scheduler.step()
            score = validate(network)
            mlflow.log_metrics({"train/loss": loss, "val/macro_f1": score}, step=epoch)
            if score > best:
                best = score
                torch.save(network.state_dict(), "best.pt")
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        mlflow.log_artifact("best.pt")
    return best


def train(network: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """One epoch; its mean loss."""
    signals, labels = PARTS["train"]
    network.train()
    total = 0.0
    for chosen in torch.randperm(len(labels)).split(BATCH):
        loss = nn.functional.cross_entropy(network(signals[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(labels)


@torch.no_grad()
def validate(network: nn.Module) -> float:
    """Macro-F1 on the validation windows."""
    signals, labels = PARTS["validation"]
    network.eval()
    logits = torch.cat([network(batch) for batch in signals.split(BATCH)])
    return float(multiclass_f1_score(logits, labels, CLASSES, average="macro"))


def main() -> None:
    """Run the study and print its best score."""
    trials, seed = map(int, sys.argv[1:3])
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage="sqlite:///study.db",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=5),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    with mlflow.start_run(run_name="by hand"):
        study.optimize(objective, n_trials=trials)
    print(study.best_value)


if __name__ == "__main__":
    main()
