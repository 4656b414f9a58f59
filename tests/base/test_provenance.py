"""Faults A3 and A4: what computed a result, found out without starting a back end."""

import json

import pytest

from asc_study.base.provenance import backend_name, environment, fact_tags, fingerprint, other_facts, short_digest


def test_the_fingerprint_names_back_end_device_and_versions(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delitem(__import__("sys").modules, "keras", raising=False)
    facts = fingerprint()
    assert facts["backend"] == "jax"
    assert facts["device"] == "cpu"
    assert {"jax", "jaxlib", "keras", "numpy", "librosa", "soxr", "numba", "scikit-learn"} <= set(facts)
    assert "tensorflow" not in facts


def test_another_back_end_is_another_fingerprint_and_said_in_words():
    here = {"backend": "tensorflow", "device": "cpu", "tensorflow": "2.21.0", "numpy": "2.4"}
    there = {"backend": "jax", "device": "cpu", "jax": "0.10", "numpy": "2.4"}
    assert short_digest(here) != short_digest(there)
    said = other_facts(fact_tags(there), here)
    assert said.startswith("backend jax, here tensorflow")
    assert "numpy" not in said
    assert other_facts({"asc.fingerprint_facts": "no json"}, here) == "not recorded"


@pytest.mark.parametrize(
    ("text", "expected"), [('{"backend": "jax"}', "jax"), ("{", "tensorflow"), ("[]", "tensorflow")]
)
def test_the_back_end_of_the_users_keras_file_counts(tmp_path, monkeypatch, text, expected):
    (tmp_path / "keras.json").write_text(text, encoding="utf-8")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(__import__("sys").modules, "keras", raising=False)
    assert backend_name() == expected


def test_the_environment_names_what_can_change_a_result(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    told = json.loads(json.dumps(environment()))
    assert told["switches"]["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
    assert {"soxr", "numba", "pyroomacoustics", "scikit-learn", "mlflow"} <= set(told["versions"])
    assert {"commit", "fingerprint", "gpus", "gpu_driver", "processor", "cores"} <= set(told)
