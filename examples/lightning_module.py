"""A GAN as a LightningModule. Needs pip install pytorch-lightning."""

from __future__ import annotations

import sys

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import fastgan
from fastgan.data import load
from fastgan.nn import MLP

steps = int(sys.argv[1]) if sys.argv[1:] else 2_000


class GAN(pl.LightningModule):
    def __init__(self, latent_dim: int = 2, lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False  # two players, two optimizers
        self.G, self.D = MLP([latent_dim, 64, 64, 2]), MLP([2, 64, 64, 1])

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        (x,) = batch
        opt_G, opt_D = self.optimizers()
        fake = self.G(torch.randn(len(x), self.hparams.latent_dim, device=self.device))

        self.toggle_optimizer(opt_D)
        loss_D, stats = fastgan.discriminator_loss(self.D(x), self.D(fake.detach()), return_stats=True)
        opt_D.zero_grad()
        self.manual_backward(loss_D)
        opt_D.step()
        self.untoggle_optimizer(opt_D)

        self.toggle_optimizer(opt_G)
        loss_G = fastgan.generator_loss(self.D(fake))
        opt_G.zero_grad()
        self.manual_backward(loss_G)
        opt_G.step()
        self.untoggle_optimizer(opt_G)

        d_real, d_fake, _ = stats
        self.log_dict({"loss_D": loss_D, "loss_G": loss_G, "D(x)": d_real, "D(G(z))": d_fake}, prog_bar=True)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(net.parameters(), self.hparams.lr, (0.5, 0.999)) for net in (self.G, self.D)]


loader = DataLoader(TensorDataset(load("ring").samples), batch_size=256, shuffle=True)
# Lightning counts each optimizer's step
trainer = pl.Trainer(
    max_steps=2 * steps,
    accelerator="auto",
    devices=1,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=steps > 100,
    enable_model_summary=False,
)
trainer.fit(GAN(), loader)
print(f"loss_D {trainer.callback_metrics['loss_D']:.3f} after {trainer.global_step // 2} steps")
