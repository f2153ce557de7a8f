"""The class ``CTGAN``, trained by :class:`fastgan.tabular.TabularGAN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fastgan.tabular import TabularGAN
from fastgan.tabular.frames import to_pandas
from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback, LogRow


class CTGAN:
    """``CTGAN``: the same arguments in the same order.

    Columns that are not discrete are numbers, as in the original, or dates, times and categories, which it
    refuses; missing values are learnt. Values stay within the range of the column's.

    Args:
        embedding_dim: size of the latent vector.
        generator_dim: widths of the generator's residual blocks.
        discriminator_dim: widths of the discriminator's hidden layers.
        generator_lr: Adam's rate for the generator.
        generator_decay: Adam's weight decay, which both networks share.
        discriminator_lr: Adam's rate for the discriminator.
        discriminator_decay: the same as ``generator_decay``.
        batch_size: rows of a step.
        discriminator_steps: turns of the discriminator for each turn of the generator.
        log_frequency: draw categories by the logarithm of their frequency while training.
        verbose: print the losses after each epoch.
        epochs: passes over the table.
        pac: rows that the discriminator judges together.
        enable_gpu: train on the first GPU, if there is one.
        cuda: the older name of ``enable_gpu``; or a device, such as ``"cuda:1"``.

    Raises:
        ValueError: a setting is wrong, or the two decays differ.

    Attributes:
        loss_values: columns ``Epoch``, ``Generator Loss`` and ``Discriminator Loss``, with means over each
            epoch's steps, where the original has the last step's; None before :meth:`fit`.
    """

    def __init__(
        self,
        embedding_dim: int = 128,
        generator_dim: Sequence[int] = (256, 256),
        discriminator_dim: Sequence[int] = (256, 256),
        generator_lr: float = 2e-4,
        generator_decay: float = 1e-6,
        discriminator_lr: float = 2e-4,
        discriminator_decay: float = 1e-6,
        batch_size: int = 500,
        discriminator_steps: int = 1,
        log_frequency: bool = True,
        verbose: bool = False,
        epochs: int = 300,
        pac: int = 10,
        enable_gpu: bool = True,
        cuda: bool | str | None = None,
    ) -> None:
        if generator_decay != discriminator_decay:
            raise ValueError(
                f"generator_decay is {generator_decay} and discriminator_decay is {discriminator_decay}, "
                "expected the same for both networks"
            )
        self._settings: dict[str, Any] = {
            "latent_dim": embedding_dim,
            "generator": tuple(generator_dim),
            "discriminator": tuple(discriminator_dim),
            "learning_rate": generator_lr,
            "discriminator_learning_rate": discriminator_lr,
            "weight_decay": generator_decay,
            "batch_size": batch_size,
            "discriminator_steps": discriminator_steps,
            "log_frequency": log_frequency,
            "epochs": epochs,
            "pack": pac,
            "device": device_of(enable_gpu if cuda is None else cuda),
        }
        TabularGAN(**self._settings)  # refuses wrong ones before there is a table
        self._verbose = verbose
        self._rng: torch.Generator | None = None
        self._is_array = False
        self._fitted: TabularGAN | None = None
        self.loss_values: pd.DataFrame | None = None

    def fit(self, train_data: Any, discrete_columns: Sequence[str | int] | None = ()) -> None:
        """Train on a table.

        Args:
            train_data: a DataFrame of pandas or polars, a pyarrow.Table, or an array or list
                ``[rows, columns]``.
            discrete_columns: names of the columns of categories, positions in an array; None for no column.

        Raises:
            ValueError: the table, a column or a setting cannot be used; the message names it.
        """
        self._is_array = isinstance(train_data, (np.ndarray, list))
        frame = pd.DataFrame(train_data) if self._is_array else to_pandas(train_data)
        kinds = dict.fromkeys(frame.select_dtypes("number"), "continuous")
        kinds |= dict.fromkeys(() if discrete_columns is None else discrete_columns, "category")
        epoch = max(len(frame) // self._settings["batch_size"], 1)
        gan = TabularGAN(columns=kinds, seed=self._seed(), log_interval=epoch, **self._settings)
        losses = _Losses(epoch, self._verbose)
        self._fitted = gan.fit(frame, [losses])
        self.loss_values = pd.DataFrame(
            losses.rows, columns=["Epoch", "Generator Loss", "Discriminator Loss"]
        )

    def sample(
        self, n: int, condition_column: str | int | None = None, condition_value: object = None
    ) -> Any:
        """Generate rows.

        Args:
            n: how many.
            condition_column: a discrete column; the number of a column of an array may be a string.
            condition_value: its value in every row, where the original only makes it more likely; nan for
                a missing one.

        Returns:
            A frame of pandas, or an array if :meth:`fit` got one.

        Raises:
            ValueError: not fitted; the condition is on no discrete column or on a value never seen; or only
                one of ``condition_column`` and ``condition_value`` is given.
        """
        if (condition_column is None) != (condition_value is None):
            raise ValueError(
                f"condition_column is {condition_column!r} and condition_value is {condition_value!r}; give "
                "both or none"
            )
        if self._is_array and isinstance(condition_column, str) and condition_column.isdecimal():
            condition_column = int(condition_column)
        conditions = {} if condition_column is None else {condition_column: condition_value}
        frame = self._gan().sample(n, conditions, self._seed())
        return frame.to_numpy() if self._is_array else frame

    def set_device(self, device: str | torch.device) -> None:
        """Move the fitted generator to a device, and use it in :meth:`fit`.

        Raises:
            ValueError: there is no such device.
        """
        settings = self._settings | {"device": str(device)}
        TabularGAN(**settings)  # refuses a wrong device
        self._settings = settings
        if self._fitted is not None:
            self._fitted.to(device)

    def set_random_state(
        self, random_state: int | np.integer[Any] | tuple[Any, torch.Generator] | None
    ) -> None:
        """Seed what follows: ``fit`` and ``sample``.

        Args:
            random_state: a seed; or, as in the original, a pair with a torch.Generator, which is then used;
                None for torch's global one.

        Raises:
            ValueError: it is none of these.
        """
        match random_state:
            case int() | np.integer():
                self._rng = torch.Generator().manual_seed(int(random_state))
            case None | (_, torch.Generator()):
                self._rng = None if random_state is None else random_state[1]
            case _:
                raise ValueError(
                    f"random_state is {random_state!r}, expected an int, None, or a pair with a "
                    "torch.Generator"
                )

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a new folder, where the original writes a pickle.

        Raises:
            ValueError: not fitted.
            WriteError: the folder has files in it or cannot be written.
        """
        self._gan().save(path)

    @classmethod
    def load(cls, path: str | Path) -> CTGAN:
        """Read what :meth:`save` wrote, for sampling; samples are frames. No pickle of the original is read.

        Raises:
            ValueError: the folder holds no such model, or it is damaged.
        """
        made = cls()
        made._fitted = TabularGAN.load(path)
        return made

    def _gan(self) -> TabularGAN:
        if self._fitted is None:
            raise ValueError("this CTGAN is not fitted; call fit or load first")
        return self._fitted

    def _seed(self) -> int:
        return int(torch.randint(2**31, (), generator=self._rng))


class _Losses(Callback):
    """Keeps the losses of each epoch."""

    def __init__(self, epoch: int, verbose: bool) -> None:
        self._epoch, self._verbose = epoch, verbose
        self.rows: list[tuple[int, float, float]] = []

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        epoch, generator, discriminator = (
            row.step // self._epoch - 1,
            row.values["loss_G"],
            row.values["loss_D"],
        )
        self.rows.append((epoch, generator, discriminator))
        if self._verbose:
            print(f"epoch {epoch + 1}: loss of G {generator:.3f}, of D {discriminator:.3f}", flush=True)


def device_of(wanted: bool | str) -> str:
    """The named device; the first GPU if one is wanted and there, else the CPU."""
    if isinstance(wanted, str):
        return wanted
    return "cuda" if wanted and torch.cuda.is_available() else "cpu"
