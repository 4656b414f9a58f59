"""The `features` of a run, and the front ends of published systems as presets of them."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import Strict, did_you_mean, label
from asc_study.features.settings import LogMelSettings

_BASELINE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "resample_to": 32_000,
        "n_fft": 4096,
        "window_length": 3072,
        "hop_length": 500,
        "n_mels": 256,
        "padding": "reflect",
        "log_offset": 1e-5,
        "scale": "none",
        "deltas": False,
    }
)

#: Name -> settings that stand in for defaults: of CP-Mobile (Schmid et al., DCASE 2023: one second gives 64 frames) and
#: of the baselines of the challenges of 2024 and 2025 (65 frames).
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "cp_mobile": {
            **_BASELINE,
            "pre_emphasis": 0.97,
            "window": "symmetric",
            "mel_scale": "kaldi",
            "fmax": 15_500.0,
            "scale": "fixed",
        },
        "dcase2024": _BASELINE,
    }
)

#: Settings that there always were; others are part of an identity if they are not at their defaults.
_ALWAYS: Final = ("n_fft", "hop_length", "n_mels", "scale", "dtype")


class FeatureConfig(Strict):
    """Log-mel features (section 5.1), sizes in samples, ``n_mels`` in bands; or embeddings.

    ``embeddings`` is a file of what another network made of the clips (`asc_study.features.embedding_file`), which
    networks are then given in place of spectrograms. The settings of log-mel features mean nothing beside it and are
    left out; its contents, and not its place, are part of what a run is.

    See `asc_study.features.settings.LogMelSettings` for each. ``preset`` names a front end of `PRESETS`, whose settings
    stand in for the defaults: what is given beside it wins, and what is left is these settings alone.
    """

    n_fft: int = Field(2048, ge=16, le=65536)
    hop_length: int = Field(1024, ge=1, le=65536)
    n_mels: int = Field(128, ge=4, le=1024)
    scale: Literal["min_max", "none", "fixed"] = "min_max"
    dtype: Literal["float16", "float32"] = "float16"
    resample_to: int | None = Field(None, ge=1000, le=768_000)
    pre_emphasis: float = Field(0, ge=0, lt=1)
    window_length: int | None = Field(None, ge=16, le=65536)
    window: Literal["periodic", "symmetric"] = "periodic"
    padding: Literal["zeros", "reflect"] = "zeros"
    mel_scale: Literal["htk", "kaldi"] = "htk"
    fmin: float = Field(0, ge=0)
    fmax: float | None = Field(None, gt=0)
    log_offset: float = Field(1e-8, gt=0, le=1)
    deltas: bool = True
    embeddings: str | None = Field(None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_log_mel(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping) or settings.get("embeddings") is None:
            return settings
        strange = {key: value for key, value in settings.items() if key not in (*cls.model_fields, "preset")}
        return {**strange, "embeddings": settings["embeddings"], "deltas": False}

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping) or "preset" not in settings:
            return settings
        own = dict(settings)
        name = own.pop("preset")
        if name is None:
            return own
        if not isinstance(name, str) or name not in PRESETS:
            raise ValueError(f"unknown features.preset {shown(name)}: {did_you_mean(str(name), PRESETS)}")
        return {**PRESETS[name], **own}

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.window_length is not None and self.window_length > self.n_fft:
            raise ValueError(
                f"features.window_length must be at most features.n_fft, got {self.window_length} and {self.n_fft}: "
                "lower it"
            )
        if self.fmax is not None and self.fmin >= self.fmax:
            raise ValueError(
                f"features.fmin must be below features.fmax, got {self.fmin:g} and {self.fmax:g}: swap them"
            )
        return self

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Log-mel features or embeddings, whichever there are."""
        settings: dict[str, Any] = write(self)
        embeddings = settings.pop("embeddings", None)
        return settings if embeddings is None else {"embeddings": embeddings}

    def identity(self) -> dict[str, Any]:
        """Without what is as it was before there was a choice: runs that were made then stay what they are.

        Raises
        ------
        InputError
            If the file of embeddings cannot be used.
        """
        if self.embeddings is not None:
            from asc_study.features.embeddings import read_embeddings

            return {"embeddings": read_embeddings(Path(self.embeddings), progress=True).identity()}
        usual = {name: field.default for name, field in type(self).model_fields.items()}
        kept = {key: value for key, value in super().identity().items() if key in _ALWAYS or value != usual[key]}
        if self.window_length == self.n_fft:
            kept.pop("window_length", None)
        return kept

    def require_sound(self, where: str = "") -> None:
        """Raise `InputError` if the features cannot be computed of sound; ``where`` is whose they are."""
        if self.embeddings is not None:
            raise InputError(
                f"{label(where)}what is deployed or shown must hear sound, got features.embeddings "
                f"{shown(self.embeddings)}, which another network made: use a row with log-mel features"
            )

    def at(self, sample_rate: int) -> LogMelSettings:
        """The settings of log-mel features of sound at a sample rate in Hz.

        Raises
        ------
        InputError
            If they do not fit it, or are those of embeddings.
        """
        self.require_sound()
        return LogMelSettings(sample_rate=sample_rate, **self.model_dump())

    @property
    def maps(self) -> int:
        """Feature maps that a network is given of each audio channel: with deltas three."""
        return 3 if self.deltas else 1
