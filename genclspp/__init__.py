"""Ablation sweeps for generative text classification: SFT → RL → inference, one record per cell."""

__version__ = "0.1.0"
