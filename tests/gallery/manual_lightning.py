"""Lightning with manual optimization of two networks.

Expected:

[[run]]
name = "GAN"
also = ["lr-*", "epoch"]
artifacts = ["model"]
[run.params]
latent = 3
"trainer.max_epochs" = 2
[run.curves]
g_loss = "g"
d_loss = "d"
"""

import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class GAN(L.LightningModule):
    def __init__(self, latent=3):
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(latent, 2), nn.Linear(2, 1)
        self.seen = {"d": [], "g": []}

    def training_step(self, batch, batch_idx):
        g_opt, d_opt = self.optimizers()
        (real,) = batch
        fake = self.generator(torch.randn(len(real), self.hparams.latent))
        d_loss = self.critic(fake.detach()).mean() - self.critic(real).mean()
        d_opt.zero_grad()
        self.manual_backward(d_loss)
        d_opt.step()
        g_loss = -self.critic(fake).mean()
        g_opt.zero_grad()
        self.manual_backward(g_loss)
        g_opt.step()
        self.seen["d"].append(d_loss.item())
        self.seen["g"].append(g_loss.item())
        self.log_dict({"g_loss": g_loss, "d_loss": d_loss})

    def configure_optimizers(self):
        return torch.optim.Adam(self.generator.parameters(), 1e-2), torch.optim.SGD(self.critic.parameters(), 1e-3)


L.seed_everything(0, verbose=False)
loader = DataLoader(TensorDataset(torch.randn(32, 2)), batch_size=8)
gan = GAN()
trainer = L.Trainer(
    max_epochs=2, accelerator="cpu", logger=False, log_every_n_steps=1,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
trainer.fit(gan, loader)
tell(g=gan.seen["g"], d=gan.seen["d"], weights=digest(gan))
