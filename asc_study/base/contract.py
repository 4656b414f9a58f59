"""The names under which the platform writes to MLflow and Optuna and finds again what it wrote: tags, kinds, artifacts.

What is stored under a name is read by every later version, so none of them is ever changed: only added to. The names of
metrics stand in `asc_study.base.metric_table`, beside what they measure; what each name means to a user stands in
docs/reference.md. No other module spells one (``tests/base/test_contract.py``).

In `base`, below the store that writes them: what computes a run is tagged by `asc_study.base.provenance`, and
``fusion.json`` is read by what a bundle carries along, which has no store. Plain texts and not the members of an enum:
they end in JSON, in YAML and in databases, where a member would have to be turned into a text each time.
"""

from typing import Final


class Tag:
    """Tags of a run; the last ones are attributes of Optuna's studies and trials."""

    STUDY: Final = "asc.study"
    ROW: Final = "asc.row"
    KIND: Final = "asc.kind"
    SEED: Final = "asc.seed"
    SIGNATURE: Final = "asc.signature"
    SIGNATURE_SHORT: Final = "asc.signature_short"
    COMBINATION: Final = "asc.combination"
    COMBINATION_SHORT: Final = "asc.combination_short"

    TASK: Final = "asc.task"
    DATASET: Final = "asc.dataset"
    #: Classes, groups, devices and subsets of a data set, where they are not those of TAU's.
    TAXONOMY: Final = "asc.taxonomy"
    DATASET_DIGEST: Final = "asc.dataset_digest"
    SAMPLE_RATE: Final = "asc.sample_rate"
    CHANNELS: Final = "asc.channels"
    CLIP_SAMPLES: Final = "asc.clip_samples"

    GIT_COMMIT: Final = "asc.git_commit"
    FINGERPRINT: Final = "asc.fingerprint"
    FINGERPRINT_FACTS: Final = "asc.fingerprint_facts"
    BACKEND: Final = "asc.backend"
    DEVICE: Final = "asc.device"
    STRETCHES: Final = "asc.stretches"

    #: Of a run, and of a trial in Optuna.
    FAILURE: Final = "asc.failure"
    LAUNCH: Final = "asc.launch"
    HOST: Final = "asc.host"
    LOCKS: Final = "asc.locks"
    HEARTBEAT: Final = "asc.heartbeat"
    #: Who may write into a run that is trained.
    OWNER: Final = "asc.owner"

    SYSTEM: Final = "asc.system"
    MEMBERS: Final = "asc.members"
    #: Of a system by device: which member hears which device.
    ROUTES: Final = "asc.routes"
    BASIS: Final = "asc.basis"
    CHANGE_AGAINST: Final = "asc.change_against"
    #: Of a system: the digest of its bundle's manifest.
    BUNDLE: Final = "asc.bundle"
    TEST_SHOWN: Final = "asc.test_shown"
    #: What a system is marked as, by which figures, and the baseline run that it was compared with (empty: none).
    MARK: Final = "asc.mark"
    MARK_REASON: Final = "asc.mark_reason"
    BASELINE: Final = "asc.baseline"

    SCORES: Final = "asc.scores"
    LABELS: Final = "asc.labels"
    EVALUATION: Final = "asc.evaluation"
    EVALUATION_DIGEST: Final = "asc.evaluation_digest"

    #: Of an experiment, and of a study in Optuna: a UUID that names the locks of its runs, whatever its address.
    STORE: Final = "asc.store"

    OPTUNA_STUDY: Final = "asc.optuna_study"
    OPTUNA_STORAGE: Final = "asc.optuna_storage"
    TRIAL: Final = "asc.trial"
    STATE: Final = "asc.state"

    #: In Optuna, of a trial: who works on it and the domain of his lock; whether Ctrl-C cut it off.
    WORKER: Final = "asc.worker"
    INTERRUPTED: Final = "asc.interrupted"
    #: In Optuna, of a study: what the base reached if it is no trial; what is searched.
    BASE: Final = "asc.base"
    SEARCH: Final = "asc.search"


class MlflowTag:
    """MLflow's own tags, which its page goes by."""

    RUN_NAME: Final = "mlflow.runName"
    PARENT: Final = "mlflow.parentRunId"
    NOTE: Final = "mlflow.note.content"
    SOURCE_NAME: Final = "mlflow.source.name"
    SOURCE_TYPE: Final = "mlflow.source.type"
    SOURCE_COMMIT: Final = "mlflow.source.git.commit"
    #: Of a data set that a run used: the split.
    DATA_CONTEXT: Final = "mlflow.data.context"
    #: Of an experiment: training of models, not work with language models.
    EXPERIMENT_KIND: Final = "mlflow.experimentKind"
    #: Of an experiment: a view, whose key follows.
    VIEW: Final = "mlflow.sharedViewState."


class Kind:
    """What a run is: the values of `Tag.KIND`."""

    #: Stands for a study or a search as a whole.
    STUDY: Final = "study"
    SEARCH: Final = "search"

    TRAIN: Final = "train"
    TRIAL: Final = "trial"
    #: The base of a search that is measured beside its trials.
    BASE: Final = "base"

    #: Made of the predictions of others.
    ENSEMBLE: Final = "ensemble"
    FUSION: Final = "fusion"
    #: A network as a small file.
    QUANTISED: Final = "quantised"
    #: Quantised networks and their fusion in a bundle.
    SYSTEM: Final = "system"
    IMPORTED: Final = "imported"
    #: A study's statistics baseline: a system like the others, but no candidate for ensembles.
    BASELINE: Final = "baseline"


#: Kinds of runs that hold predictions of a system.
SYSTEM_KINDS: Final = (
    Kind.TRAIN,
    Kind.IMPORTED,
    Kind.ENSEMBLE,
    Kind.FUSION,
    Kind.QUANTISED,
    Kind.SYSTEM,
    Kind.BASELINE,
)


class Artifact:
    """Artifacts of a run: files by their path, folders, and the models that MLflow keeps."""

    PREDICTIONS: Final = "predictions"
    FIGURES: Final = "figures"
    SUMMARY: Final = "figures/summary.html"
    CONFIG: Final = "config.yaml"
    IDENTITY: Final = "identity.json"
    ENVIRONMENT: Final = "environment.json"
    TRAINING: Final = "training.json"
    MODEL: Final = "model"

    STUDY: Final = "study.yaml"
    ROWS: Final = "rows.json"
    PUBLISHED: Final = "published.csv"
    LEADERBOARD: Final = "leaderboard.csv"
    LEADERBOARD_TEXT: Final = "leaderboard.txt"
    REPORT: Final = "report.html"

    PATH: Final = "path.csv"
    CANDIDATES: Final = "candidates.csv"
    OVERLAP: Final = "overlap.csv"
    MEMBERS: Final = "members.json"
    PARTS: Final = "parts.csv"
    PARTS_TEXT: Final = "parts.txt"
    #: A bundle holds these two under the same names.
    FUSION: Final = "fusion.json"
    MANIFEST: Final = "manifest.json"

    #: Of a system: the folder of its bundle.
    BUNDLE: Final = "bundle"

    TFLITE: Final = "model.tflite"
    QUANTISATION: Final = "quantisation.json"
    #: A registered bundle, as MLflow loads it.
    SYSTEM: Final = "system"

    SEARCH: Final = "search.yaml"
    TRIALS: Final = "trials.csv"
    BEST: Final = "best.yaml"
    SEARCH_FIGURES: Final = "figures/search.html"


def predictions_path(split: str) -> str:
    """The artifact that holds a run's predictions for a split."""
    return f"{Artifact.PREDICTIONS}/{split}.parquet"


def evaluation_path(digest: str) -> str:
    """The artifact that holds a run's predictions for unlabelled clips of that digest."""
    return f"{Artifact.PREDICTIONS}/evaluation-{digest[:12]}.parquet"


def holdout_path(devices: str) -> str:
    """The artifact of a trial: validation clips, predicted by the model that did not hear these devices."""
    return f"holdout/{devices}.parquet"
