"""The rows of docs/performance.md's table: which program's numbers they show, and their goals."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A line of the table.

    ``shown`` is how the numbers that ``program`` returns are shown, by name; ``name`` is that of
    the one which is to be at most ``goal``, or ``at_least``. ``missing`` says why there may be
    none. Rows without a program are measured by none yet.
    """

    what: str
    beside: str
    program: str
    name: str
    shown: str
    goal: float
    at_least: bool = False
    missing: str = ""

    @property
    def aim(self) -> str:
        """The goal in words."""
        return f"at {'least' if self.at_least else 'most'} {self.goal:g}"

    def is_met(self, value: float) -> bool:
        """Whether a number reaches the goal."""
        return value >= self.goal if self.at_least else value <= self.goal


NO_HAPT, NO_GPU = "HAPT's archive was not given", "there was no GPU"
LOOP, TEXTS = "a plain PyTorch loop", "pandas and numpy, text files"
BY_HAND, STOCK = "a script by hand", "the stock sweeper and MLFlowLogger"
BARE = "a bare Hydra app"

ROWS = (
    *(
        Row(
            f"an epoch, {network}, {shown}",
            LOOP,
            "epoch",
            f"{network}, {data}",
            f"{{{network}, {data}:.3f}}",
            1.03,
            missing=missing,
        )
        for data, shown, missing in (("watch", "watch", ""), ("hapt", "HAPT", NO_HAPT))
        for network in ("LSTM 64x1", "LSTM 64x2", "FCN")
    ),
    Row(
        "trials an hour, study `quick`", BY_HAND, "sweep", "by hand", "{by hand:.2f} times", 2, True
    ),
    Row("trials an hour, study `quick`", STOCK, "sweep", "stock", "{stock:.2f} times", 3.5, True),
    Row(
        "best score of these studies, ours less theirs",
        BY_HAND,
        "sweep",
        "by hand margin",
        "{by hand margin:+.4f}: {ours score:.4f}, {by hand score:.4f}",
        0,
        True,
    ),
    Row(
        "best score of these studies, ours less theirs",
        STOCK,
        "sweep",
        "stock margin",
        "{stock margin:+.4f}: {ours score:.4f}, {stock score:.4f}",
        0,
        True,
    ),
    Row(
        "all in a trial but training [s]",
        "the bare training",
        "trial_overhead",
        "in all",
        "{in all:.2f}: {before:.2f} before, {within:.2f} within, {after:.2f} after",
        0.6,
    ),
    Row(
        "of it, before the first batch [s]",
        "",
        "trial_overhead",
        "before",
        "{before:.2f}",
        0.35,
    ),
    Row(
        "windows of HAPT, the first time",
        TEXTS,
        "windows",
        "HAPT first",
        "{HAPT first:.2f}: {HAPT first seconds:.2f} s, {HAPT pandas seconds:.2f} s",
        1 / 2,
        missing=NO_HAPT,
    ),
    Row(
        "windows of HAPT, the first time, from its zip file",
        TEXTS,
        "windows",
        "HAPT zip first",
        "{HAPT zip first:.2f}: {HAPT zip first seconds:.2f} s, {HAPT zip pandas seconds:.2f} s",
        1 / 2,
        missing=NO_HAPT,
    ),
    Row(
        "windows of HAPT, from the cache",
        TEXTS,
        "windows",
        "HAPT cached",
        "{HAPT cached:.4f}: {HAPT cached seconds:.4f} s",
        1 / 200,
        missing=NO_HAPT,
    ),
    Row(
        "windows of watch, the first time",
        TEXTS,
        "windows",
        "watch first",
        "{watch first:.2f}: {watch first seconds:.2f} s, {watch pandas seconds:.2f} s",
        1 / 2,
    ),
    Row(
        "windows of watch, from the cache",
        TEXTS,
        "windows",
        "watch cached",
        "{watch cached:.4f}: {watch cached seconds:.4f} s",
        1 / 200,
    ),
    *(
        Row(
            f"`harnest-train {flags}`",
            BARE,
            "command_line",
            flags,
            f"{{{flags}:.2f}}: {{{flags} ours:.2f}} s, {{{flags} bare:.2f}} s",
            3,
        )
        for flags in ("--help", "--cfg job")
    ),
    Row(
        "memory of 8 trials at once, HAPT",
        "8 times one `harnest-train`",
        "memory",
        "beside alone",
        "{beside alone:.2f}: {slots:.0f} MiB, 8 times {alone:.0f} MiB",
        0.6,
        missing=NO_HAPT,
    ),
    Row(
        "memory of 8 trials at once, HAPT",
        "8 times a study of one trial",
        "memory",
        "beside one slot",
        "{beside one slot:.2f}: {slots:.0f} MiB, 8 times {one slot:.0f} MiB",
        0.6,
        missing=NO_HAPT,
    ),
    Row(
        "from one trial to the next, the 1,000th",
        "the 10th",
        "many_trials",
        "ratio",
        "{ratio:.2f}: {late:.3f} s, {early:.3f} s",
        2,
    ),
    Row(
        "ask and tell, random, the 1,000th trial",
        "the 10th",
        "storages",
        "random",
        "{random:.1f}",
        2,
    ),
    Row("ask and tell, TPE, the 1,000th trial", "the 10th", "storages", "tpe", "{tpe:.1f}", 2),
    Row(
        "report and `should_prune` [ms]",
        "",
        "storages",
        "report",
        "{report:.1f}",
        20,
    ),
    Row(
        "from the decision for a trial to its job's first line [s]",
        "a cold `python`",
        "trial_cost",
        "before",
        "{before:.3f}; {cold:.2f}",
        0.25,
    ),
    Row(
        "from a job's last line to the known result [s]",
        "",
        "trial_cost",
        "after",
        "{after:.3f}",
        0.1,
    ),
    Row(
        "share of time that slots are busy",
        "joblib under our sweeper",
        "slots_busy",
        "slots",
        "{slots:.3f}; {joblib:.3f}",
        0.95,
        True,
    ),
    Row(
        "an epoch beside a tracking server 100 ms away",
        "a near one",
        "slow_server",
        "ratio",
        "{ratio:.3f}",
        1.03,
    ),
    *(
        Row(
            f"`harnest-compare` on 1,000 trials, study {state} [s]",
            "MLflow's import alone",
            "compare_many",
            f"{name}, table",
            f"{{{name}, table:.2f}}; {{import:.2f}}",
            3,
        )
        for state, name in (("at work", "running"), ("ended", "ended"))
    ),
    Row(
        "windows a second of a trial on a GPU",
        STOCK,
        "on_gpu",
        "as it is",
        "{as it is:.2f} times; in bf16 {bf16:.2f}",
        3,
        at_least=True,
        missing=NO_GPU,
    ),
    Row(
        "an epoch of 16 packed LSTM trials on a GPU",
        "one trial",
        "packed",
        "ratio",
        "{ratio:.1f}: {packed:.3f} s, {alone:.3f} s; of one kernel by kernel {plain:.3f} s",
        3,
        missing=NO_GPU,
    ),
)
