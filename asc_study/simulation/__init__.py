"""Simulated scenes and devices, written as data sets."""
