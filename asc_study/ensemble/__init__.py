"""Ensembles: which systems to combine, and how; everything is computed from predictions tables."""
