"""Acoustic scene classification studies: device-robust training, tracked as MLflow runs."""

__version__ = "0.1.0"
