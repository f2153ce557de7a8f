"""Everything that the next training step depends on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from fastgan.augmenting import DRAWN, AdaptiveProbability, augment
from fastgan.kernels import choose
from fastgan.models.labels import classes_of
from fastgan.training.adam import Adam
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.distributed import World
from fastgan.training.draws import CounterDraws, Draws, GeneratorDraws
from fastgan.training.flat import flat_parameters
from fastgan.training.latent import draw_latent, inputs
from fastgan.training.objectives import objective_of
from fastgan.training.objectives.logits import SIGN
from fastgan.training.sgd import SGD

PROBABILITY = "augment_probability"
"""An adaptive probability of augmentation, after D's turn."""


class DivergenceError(RuntimeError):
    """A loss or a weight is nan or infinite; the message names the step."""


def packed(samples: Tensor, pack: int) -> Tensor:
    """From ``[N, C, ...]`` to ``[N / pack, pack * C, ...]``: concatenates the samples of a pack."""
    return samples if pack == 1 else samples.unflatten(0, (-1, pack)).flatten(1, 2)


class TrainingState:
    """Both networks and their optimizers, the generator's average, the random numbers and the step.

    Args:
        generator: from ``[N, latent_dim]``, and labels if the config says so, to samples; moved to the
            device.
        discriminator: from samples, and labels, to logits; moved to the device.
        config: settings of the run.
        world: processes of the run.

    Attributes:
        objective: losses of both networks.
        adaptive: the probability of augmentation, if it adapts.
        average: the generator with the exponential moving average of its weights.
        draws: random numbers for this process's batches, latent vectors and noise.
        copied: tensors of the average, and what :meth:`update_average` copies to them.
        clock: int64 ``[1]`` on the device: the current step, on which these numbers depend.
        share: samples of this process in each turn.
        settings: float32 ``[5]`` on the device: learning rates of G and D, standard deviation of the
            instance noise, weight in the average and momentum, in the current step. On the device, as a
            captured step would freeze numbers of the host.
        step: number of steps done.
        dtype: dtype of the generator's weights, latent vectors and samples.

    Raises:
        ConfigError: if the batch cannot be divided among the processes.
        ValueError: if a network has no weights to train, or weights that cannot be trained.
        BackendError: if the requested backend cannot run on the device.
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, config: TrainConfig, world: World | None = None
    ) -> None:
        self.config = config
        self.world = world or World()
        if config.batch_size % (self.world.size * config.pack):
            packs = f" times packs of {config.pack}" if config.pack > 1 else ""
            raise ConfigError(
                f"batch_size is {config.batch_size}, "
                f"expected a multiple of the {self.world.size} processes{packs}"
            )
        self.device = torch.device(config.device)
        _check_weights("generator", generator)
        _check_weights("discriminator", discriminator)
        self.generator = generator.to(self.device)
        self.discriminator = discriminator.to(self.device)
        self.objective = objective_of(config, self.device, self.world)
        self.adaptive = _adaptive(config, self.device)
        self.average = _copy_of(self.generator).requires_grad_(False).eval()
        pairs = zip(self.average.parameters(), self.generator.parameters(), strict=True)
        frozen = [(mean, p) for mean, p in pairs if not p.requires_grad]
        # looked up once: for a small network that takes longer than the copies
        self.copied = [*frozen, *zip(self.average.buffers(), self.generator.buffers(), strict=True)]
        self.settings = torch.zeros(5, device=self.device, dtype=torch.float32)
        choose(self.settings)  # raises if the backend is unavailable, before files are written
        rate_g, rate_d, self.noise, self._average_weight, self._momentum = self.settings.unbind()
        means = list(self.average.parameters())
        self.generator_optimizer = self._optimizer("generator", generator, rate_g, means)
        self.discriminator_optimizer = self._optimizer("discriminator", discriminator, rate_d)
        self.dtype = self.generator_optimizer.flats[0].values.dtype
        self.clock = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.draws = CounterDraws(config.seed, self.clock, self.world)
        self.share = config.batch_size // self.world.size
        self.step = 0

    @property
    def num_classes(self) -> int:
        """Number of classes that both networks know; 0 if they do not tell."""
        known = filter(None, map(classes_of, (self.generator, self.discriminator)))
        return min(known, default=0)

    def _optimizer(
        self, name: str, player: nn.Module, learning_rate: Tensor, means: list[nn.Parameter] | None = None
    ) -> Adam | SGD:
        flats = flat_parameters(list(player.parameters()), means, halves=self.config.precision == "bf16")
        if self.config.optimizer == "sgd":
            return SGD(flats, learning_rate, self._momentum, self._average_weight)
        return Adam(
            flats,
            learning_rate,
            self.config.betas,
            self._average_weight,
            weight_decay=self.config.weight_decay,
        )

    def hold(self) -> None:
        """Make sure that weights are in the optimizers' buffers and have no gradients.

        Needed before training and after checkpoints and callbacks, which may have replaced them.

        Raises:
            ValueError: if a parameter requires a gradient but is in no optimizer.
        """
        for name, player, optimizer in (
            ("generator", self.generator, self.generator_optimizer),
            ("discriminator", self.discriminator, self.discriminator_optimizer),
        ):
            moved = {id(p) for flat in optimizer.flats for p in flat.parameters}
            for of_player, p in player.named_parameters():
                if p.requires_grad and id(p) not in moved:
                    raise ValueError(
                        f"{name}.{of_player} requires a gradient, but did not when the Trainer was made, "
                        "which would not train it; make another Trainer, or freeze the parameter again"
                    )
            for flat in optimizer.flats:
                flat.hold()
                flat.drop_gradients()

    def latent(self, count: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw ``[count, latent_dim]``, from ``rng`` or from training's random numbers."""
        draws = self.draws if rng is None else GeneratorDraws(rng)
        return self._latent((1, count), draws)

    def latents(self, turns: int) -> Tensor:
        """Draw this process's latent vectors for ``turns`` turns: ``[turns * share, latent_dim]``."""
        return self._latent((turns, self.share), self.draws)

    def _latent(self, counts: tuple[int, int], draws: Draws) -> Tensor:
        drawn = draw_latent((*counts, self.config.latent_dim), self.config.latent, draws)
        return drawn.flatten(0, 1).to(self.dtype)

    @torch.no_grad()
    def look(self, latent: Tensor, labels: Tensor | None = None, *, live: bool = False) -> Tensor:
        """Samples of the average or, if ``live``, of the current weights, in evaluation mode.

        The random state is restored, so that training is not affected.
        """
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            if live:
                buffers = {name: buffer.clone() for name, buffer in self.generator.named_buffers()}
                weights = {**dict(self.generator.named_parameters()), **buffers}
                samples: Tensor = functional_call(self.average, weights, inputs(latent, labels))
            else:
                samples = self.average(*inputs(latent, labels))
        return samples

    def augmented(self, samples: Tensor) -> Tensor:
        """This process's images, augmented if the config says so, with a graph. Precedes :meth:`show`."""
        if not self.config.augment:
            return samples
        probability = self.adaptive.value if self.adaptive is not None else self.config.augment_probability
        assert probability is not None
        return augment(samples, probability, self.uniform(len(samples), DRAWN))

    def adapt(self, statistics: dict[str, Tensor]) -> None:
        """Adapt the probability of augmentation to a turn of D, and add it to the turn's statistics."""
        if self.adaptive is not None:
            self.adaptive.adapt(self.world.mean(statistics[SIGN]), self.config.batch_size)
            statistics[PROBABILITY] = self.adaptive.value

    def show(self, samples: Tensor) -> Tensor:
        """This process's samples as D sees them: with instance noise, and packed."""
        return packed(self._blurred(samples), self.config.pack)

    def _blurred(self, samples: Tensor) -> Tensor:
        if self.config.instance_noise == 0:
            return samples
        noise = self.draws.normal((1, *samples.shape))[0]
        return choose(samples).add_noise(samples, noise, self.noise)

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers in [0, 1) for this process's ``shape[0]`` samples, from training's random numbers."""
        return self.draws.uniform((1, *shape))[0]

    @torch.no_grad()
    def update_average(self) -> None:
        """Copy buffers and frozen parameters, which G's optimizer does not update, to the average."""
        for kept, current in self.copied:
            kept.copy_(current)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that steps change, by name; not copies."""
        parts = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimizer": self.generator_optimizer.tensors(),
            "discriminator_optimizer": self.discriminator_optimizer.tensors(),
            "objective": self.objective.tensors(),
            "augmentation": {} if self.adaptive is None else self.adaptive.tensors(),
        }
        return {f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()}

    def random_states(self) -> dict[str, Tensor]:
        """States of torch's random generators, which a network's dropout uses."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def set_random_states(self, states: dict[str, Tensor]) -> None:
        """Restore the result of ``random_states``."""
        torch.set_rng_state(states["cpu"])
        if self.device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)


def _adaptive(config: TrainConfig, device: torch.device) -> AdaptiveProbability | None:
    if not config.augment or config.augment_probability is not None:
        return None
    return AdaptiveProbability(config.augment_target, config.augment_images, device)


def _copy_of(module: nn.Module) -> nn.Module:
    """A deep copy of a module, even with hooks that compute weights (weight norm, pruning).

    copy.deepcopy alone refuses the computed weights, as they have a graph.
    """
    computed = [t for each in module.modules() for t in vars(each).values() if isinstance(t, Tensor)]
    return copy.deepcopy(module, {id(t): t.detach().clone() for t in computed if not t.is_leaf})


def _check_weights(name: str, player: nn.Module) -> None:
    if any(is_lazy(p) for p in player.parameters()):
        raise ValueError(f"{name} has lazy layers, whose sizes are not known yet; call it on one batch first")
    trained = {p.dtype for p in player.parameters() if p.requires_grad}
    if not trained:
        raise ValueError(f"{name} has no parameter that requires a gradient, expected at least one")
    for dtype in trained - {torch.float32, torch.float64}:
        raise ValueError(
            f"{name} has weights of {dtype}, expected float32 or float64; convert it with .float(), and take "
            "precision='bf16' for products in bfloat16"
        )
