"""Training: the updates of both networks, the trainer, checkpoints and run folders."""

from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.state import DivergenceError
from fastgan.training.trainer import Callback, Trainer

__all__ = ["Callback", "ConfigError", "DivergenceError", "TrainConfig", "Trainer"]
