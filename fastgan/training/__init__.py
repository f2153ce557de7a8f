"""Training: the two players' turns, the step, the trainer, checkpoints and run folders."""

from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.state import TrainingDiverged
from fastgan.training.trainer import Callback, Trainer

__all__ = ["Callback", "ConfigError", "TrainConfig", "Trainer", "TrainingDiverged"]
