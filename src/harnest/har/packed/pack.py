"""An epoch of several classifiers, computed as one batched program."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import Optimizer

from harnest.core.errors import ConfigError
from harnest.har.classifier import MakeOptimizer
from harnest.har.packed.cuda_graph import CudaGraph
from harnest.har.packed.packed_classifier import PackedClassifier
from harnest.har.packed.template import template_of, unsupported_error
from harnest.har.packed.update import rule_of

_TRIED = 8  # windows that a pack is tried on before it trains

#: By how much of the largest logit a pack's may differ from one network's: products of matrices are
#: rounded to TensorFloat-32 on GPUs, or to bfloat16.
_ROUNDING = {"32-true": 0.01, "bf16-mixed": 0.05}


def train_epoch(members: Sequence[PackedClassifier]) -> None:
    """Train one epoch of all ``members`` as one program.

    Afterwards weights, optimizers and training metrics of each are as after an epoch of its own.

    Raises:
        ConfigError: The members cannot be packed.
    """
    torch.set_num_threads(members[0].threads)
    pack = members[0].pack
    if pack is None or pack.members != tuple(members):  # at first, and when some have ended
        pack = Pack(members)
    pack.train()


def is_packable(
    network: nn.Module, make_optimizer: MakeOptimizer, windows: Tensor, precision: str
) -> bool:
    """Whether a pack on a GPU would take a network, tried on a few ``windows``, and its optimizer.

    There, vmap has no way back through a batch normalisation of half precision.
    """
    if precision != "32-true" and any(map(_normalises_batches, network.modules())):
        return False

    def predictions(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(template, weights, (x,))
        return logits

    try:
        rule_of([make_optimizer(network.parameters())])
        template = template_of([network], [torch.Generator()]).eval()
        weights = {name: one.unsqueeze(0) for name, one in network.state_dict().items()}
        with torch.no_grad():
            vmap(predictions)(weights, windows.unsqueeze(0))
    except (ConfigError, RuntimeError, TypeError):
        return False
    return True


def _normalises_batches(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)


class Pack:
    """The weights of several classifiers as rows of one matrix, (k, weights), and their state.

    Everything is read from the classifiers before an epoch and written back after it, so the next
    epoch can use fewer classifiers.
    """

    def __init__(self, members: Sequence[PackedClassifier]) -> None:
        first = members[0]
        self.members = tuple(members)
        device = self.device = first.device
        if any(not torch.equal(one.mean, first.mean) for one in members):
            raise ConfigError(
                "trials of different data cannot be packed; take it out of "
                "hydra.launcher.varying_keys"
            )
        for key, value in _shared(first).items():
            if any(_shared(one)[key] != value for one in members):
                raise ConfigError(
                    f"trials that differ in {key} cannot be packed; take it out of "
                    "hydra.launcher.varying_keys"
                )
        self.precision = first.trainer.precision_plugin.forward_context
        self.rounding = _ROUNDING[str(first.trainer.precision)]
        self.optimizers = [_optimizer(member) for member in members]
        self.rule = rule_of(self.optimizers)
        self.generators = [torch.Generator(device) for _ in members]
        self.template = template_of([member.network for member in members], self.generators)

        tensors = [_tensors(member) for member in members]
        trained = {name: one for name, one in tensors[0].items() if one.requires_grad}
        self.names = list(trained)
        self.shapes = [one.shape for one in trained.values()]
        self.sizes = [one.numel() for one in trained.values()]
        self.weights = torch.stack([self._row(one) for one in tensors])
        # Views of the rows, in the shapes that the network knows: (k, ...).
        self.parameters = {
            name: part.detach().requires_grad_()
            for name, part in zip(self.names, self._parts(self.weights), strict=True)
        }
        self.fixed = {
            name: torch.stack([one[name].detach() for one in tensors])
            for name in tensors[0]
            if name not in trained
        }
        self.moments = {name: torch.zeros_like(self.weights) for name in self.rule.moments}
        self.steps = torch.zeros(len(members), 1, device=device)
        for index, one in enumerate(tensors):
            self._save_state(index, one)

        before = first.pack  # where some have ended: its windows are on the device already
        parts = ("train", "validation")
        self.data: dict[str, tuple[Tensor, Tensor]] = (
            before.data if before else {part: self._load(part) for part in parts}
        )
        self._try()
        self.step = CudaGraph(self._step, device, self.generators)
        self.judge = CudaGraph(self._judge, device)
        self.validated: list[tuple[Tensor, Tensor]] | None = None
        for member in members:
            member.pack = self

    def train(self) -> None:
        """Train for an epoch."""
        count, batches = (self.members[0].windows("train"), self.members[0].batches("train"))
        labels = self.data["train"][1]
        order = torch.stack([m.order(m.current_epoch) for m in self.members])
        order = order[:, :count].to(self.device)
        for member, generator in zip(self.members, self.generators, strict=True):
            generator.manual_seed(member.epoch_seed())
        self.validated = None
        self.template.train()
        losses, predicted = [], []
        chunks = torch.split(order, self.members[0].batch_size, dim=1)
        for chosen, rates in zip(chunks, self._rates(batches), strict=True):
            loss, guess = self.step(chosen, rates)
            losses.append(loss.unsqueeze(1).expand(chosen.shape))
            predicted.append(guess)
        self._restore_members()
        rows = (torch.cat(losses, dim=1), torch.cat(predicted, dim=1), labels[order])
        for member, loss, guess, truth in zip(self.members, *rows, strict=True):
            member.count("train", loss, guess, truth)

    def count_validation(self, member: PackedClassifier) -> None:
        """Count validation windows of ``member``; the first call predicts for all members."""
        if self.validated is None:
            self.validated = self._validate()
        labels = self.data["validation"][1][: member.windows("validation")]
        loss, predicted = self.validated[self.members.index(member)]
        member.count("val", loss, predicted, labels)

    def _validate(self) -> list[tuple[Tensor, Tensor]]:
        first, k = self.members[0], len(self.members)
        signals, labels = (x[: first.windows("validation")] for x in self.data["validation"])
        self.template.eval()
        losses, predicted = [], []
        parts = (torch.split(tensor, first.batch_size) for tensor in (signals, labels))
        for x, y in zip(*parts, strict=True):
            loss, guess = self.judge(x, y)
            losses.append(loss.unsqueeze(1).expand(k, len(y)))
            predicted.append(guess)
        return list(zip(torch.cat(losses, dim=1), torch.cat(predicted, dim=1), strict=True))

    @torch.no_grad()
    def _judge(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (k,) and predicted classes (k, batch) of the same windows for all."""
        k = len(self.members)
        loss, logits = self._losses(x.expand(k, *x.shape), y.expand(k, -1), self.fixed)
        return loss, logits.argmax(dim=2)

    def _losses(self, x: Tensor, y: Tensor, fixed: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Losses (k,) and logits (k, batch, classes) of normalised windows and labels of each."""

        def one(weights: dict[str, Tensor], fixed: dict[str, Tensor], x: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.template, (weights, fixed), (x,))
            return logits

        with self.precision():
            logits = vmap(one)(self.parameters, fixed, x)
        loss = self.members[0].loss
        # Its mean over a batch, where windows may have weights; vmap cannot take it.
        each = nn.functional.cross_entropy(
            logits.flatten(0, 1).float(),
            y.flatten(),
            weight=loss.weight,
            label_smoothing=loss.label_smoothing,
            reduction="none",
        ).view(y.shape)
        if loss.weight is None:
            return each.mean(dim=1), logits
        return each.sum(dim=1) / loss.weight[y].sum(dim=1), logits

    def _gradient(self, losses: Tensor) -> Tensor:
        """The gradient of each member's loss, (k, weights): no loss depends on others' weights."""
        parts = torch.autograd.grad(losses.sum(), list(self.parameters.values()))
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    @torch.no_grad()
    def _step(self, chosen: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
        """Train on the windows ``chosen``, (k, batch); their losses (k,) and predicted classes."""
        signals, labels = self.data["train"]
        with torch.enable_grad():
            losses, logits = self._losses(signals[chosen], labels[chosen], self.fixed)
            gradient = self._gradient(losses)
        most = self.members[0].trainer.gradient_clip_val or 0.0
        if most > 0:
            norms = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient = gradient * (most / (norms + 1e-6)).clamp(max=1.0)  # as torch does
        self.steps += 1
        self.rule.apply(self.weights, gradient, self.moments, self.steps, rates.unbind())
        return losses.detach(), logits.detach().argmax(dim=2)

    def _rates(self, batches: int) -> Iterator[Tensor]:
        """The optimizers' rates for each step of an epoch, (rates, k, 1), as schedulers have it.

        The last of a scheduler's steps is left to Lightning.
        """
        rows = []
        for batch in range(batches):
            if batch > 0:
                for member in self.members:
                    for config in member.trainer.lr_scheduler_configs:
                        if config.interval == "step":
                            config.scheduler.step()  # type: ignore[call-arg]
            rows.append([self.rule.rates(one.param_groups[0]) for one in self.optimizers])
        table = torch.tensor(rows).transpose(1, 2).unsqueeze(3)
        return iter(table.to(self.device))

    def _try(self) -> None:
        """Judge and train on a few windows; raises `ConfigError` where a member alone differs."""
        first, k = self.members[0], len(self.members)
        x, y = (x[:_TRIED] for x in self.data["train"])
        fixed = {name: value.clone() for name, value in self.fixed.items()}
        try:
            self.template.eval()
            with torch.no_grad():
                _, logits = self._losses(x.expand(k, *x.shape), y.expand(k, -1), fixed)
            self.template.train()
            self._gradient(self._losses(x.expand(k, *x.shape), y.expand(k, -1), fixed)[0])
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:
            raise unsupported_error(first.network, str(error).splitlines()[0]) from error
        for member, together in zip(self.members, logits, strict=True):
            member.network.eval()
            with torch.no_grad(), self.precision():
                alone = member.network(x)
            member.network.train()
            if (together - alone).abs().max() > self.rounding * alone.abs().max() + 1e-6:
                raise unsupported_error(
                    first.network, "its logits in a pack differ from those alone"
                )

    def _load(self, part: str) -> tuple[Tensor, Tensor]:
        """A part's normalised signals and labels, on the device."""
        first = self.members[0]
        signals, labels = (x.to(self.device) for x in first.tensors(part))
        return (signals - first.mean) / first.std, labels

    def _row(self, tensors: dict[str, Tensor]) -> Tensor:
        return torch.cat([tensors[name].detach().flatten() for name in self.names])

    def _parts(self, rows: Tensor) -> list[Tensor]:
        """Rows (k, weights) as one view for each parameter, (k, ...)."""
        parts = torch.split(rows, self.sizes, dim=1)
        return [
            part.view(len(rows), *shape) for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def _save_state(self, index: int, tensors: dict[str, Tensor]) -> None:
        """Take from a member's optimizer what it remembers, where it has made steps."""
        states = [self.optimizers[index].state[tensors[name]] for name in self.names]
        for moment, rows in self.moments.items():
            if all(moment in state for state in states):
                rows[index] = torch.cat([state[moment].flatten() for state in states])
        if "step" in states[0]:
            self.steps[index] = float(states[0]["step"])

    @torch.no_grad()
    def _restore_members(self) -> None:
        """Give the members their weights, buffers and optimizers' moments, as copies."""
        moments = {name: self._parts(rows) for name, rows in self.moments.items()}
        for index, member in enumerate(self.members):
            tensors = _tensors(member)
            for name, rows in {**self.parameters, **self.fixed}.items():
                tensors[name].copy_(rows[index])
            for place, name in enumerate(self.names):
                state = self.optimizers[index].state[tensors[name]]
                # One per weight: a resumed optimizer counts the steps of each.
                state["step"] = self.steps[index, 0].clone().cpu()
                for moment, parts in moments.items():
                    state[moment] = parts[place][index].clone()


def _shared(member: PackedClassifier) -> dict[str, object]:
    """The settings that all members of a pack have in common, by key."""
    return {
        "loss.label_smoothing": member.loss.label_smoothing,
        "loss.class_weights": member.loss.weight is not None,
        "data.batch_size": member.batch_size,
        "trainer.precision": member.trainer.precision,
        "trainer.gradient_clip_val": member.trainer.gradient_clip_val,
        "trainer.limit_train_batches": member.limits["train"],
        "trainer.limit_val_batches": member.limits["validation"],
    }


def _tensors(member: PackedClassifier) -> dict[str, Tensor]:
    """A network's weights and buffers by name."""
    network = member.network
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _optimizer(member: PackedClassifier) -> Optimizer:
    optimizer = member.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, Optimizer)
    return optimizer
