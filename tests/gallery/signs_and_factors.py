"""A variational autoencoder, and what people write in front of `.backward()`: signs, weights, sums, walruses.

Expected:

[[run]]
also = ["lr"]
artifacts = ["model"]
[run.curves]
elbo = "elbo"
kl = "kl"
recon = "recon"
loss = "halves"
total = "total"
unnamed_loss = "sums"
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from torch.nn import functional as F
from truth import digest, tell

torch.manual_seed(0)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x):
        mu, logvar = self.encode(x).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decode(z), mu, logvar


class Config:
    weight = 0.3


vae, cfg, beta, x = VAE(), Config(), 4.0, torch.randn(16, 6)
optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
seen = {"elbo": [], "kl": [], "recon": [], "halves": [], "total": [], "sums": []}


def parts():
    reconstruction, mu, logvar = vae(x)
    kld = -0.5 * torch.mean(1 + logvar - mu.pow(2) - logvar.exp())
    return F.mse_loss(reconstruction, x), kld


def step(name, value):
    optimizer.step()
    optimizer.zero_grad()
    seen[name].append(value.item())


mse, kld = parts()
elbo = -(mse + kld)
(-elbo).backward()
step("elbo", elbo)
_, kl = parts()
(beta * kl).backward()
step("kl", kl)
recon, _ = parts()
(cfg.weight * recon).backward()
step("recon", recon)
loss, _ = parts()
(loss / 2).backward()
step("halves", loss)
(total := parts()[0] * 3).backward()
step("total", total)
losses = parts()
sum(losses).backward()
step("sums", losses[0] + losses[1])
at = {name: {"steps": [at], "values": values} for at, (name, values) in enumerate(seen.items())}
tell(**at, weights=digest(vae))
