"""Training: the two players' turns, the step, the trainer, checkpoints and run folders."""

from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.state import DivergenceError
from fastgan.training.trainer import Callback, Trainer

__all__ = ["Callback", "ConfigError", "DivergenceError", "TrainConfig", "Trainer"]
