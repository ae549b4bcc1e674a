"""A GAN that clips the gradients of both networks, with optimizers of two kinds.

Expected:

[[run]]
artifacts = ["netD", "netG"]
[run.curves]
errD = "d"
errG = "g"
"lr/optimizerD" = "rate_d"
"lr/optimizerG" = "rate_g"
"grad_norm/optimizerD" = "norm_d"
"grad_norm/optimizerG" = "norm_g"
[run.params]
"optimizerD.lr" = 0.0002
"optimizerG.betas" = [0.5, 0.999]
"netD.parameters" = 33
[run.weights]
netD = "weights_d"
netG = "weights_g"
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell

torch.manual_seed(999)
nz, ngf, lr, beta1 = 4, 8, 2e-4, 0.5
real_label, fake_label = 1.0, 0.0
dataloader = DataLoader(TensorDataset(torch.randn(48, 2) * 0.3 + 1), batch_size=16, shuffle=True)
netG = nn.Sequential(nn.Linear(nz, ngf), nn.ReLU(), nn.Linear(ngf, 2))
netD = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.SGD(netD.parameters(), lr=lr)
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(beta1, 0.999))
D_losses, G_losses, norms_d, norms_g = [], [], [], []

for epoch in range(3):
    for i, (real,) in enumerate(dataloader, 0):
        # (1) Update D network: maximize log(D(x)) + log(1 - D(G(z)))
        netD.zero_grad()
        label = torch.full((real.size(0),), real_label)
        errD_real = criterion(netD(real).view(-1), label)
        fake = netG(torch.randn(real.size(0), nz))
        label = torch.full_like(label, fake_label)
        errD_fake = criterion(netD(fake.detach()).view(-1), label)
        errD = errD_real + errD_fake
        errD.backward()
        norms_d.append(nn.utils.clip_grad_norm_(netD.parameters(), 0.1).item())
        optimizerD.step()
        # (2) Update G network: maximize log(D(G(z)))
        netG.zero_grad()
        label = torch.full_like(label, real_label)
        errG = criterion(netD(fake).view(-1), label)
        errG.backward()
        norms_g.append(nn.utils.clip_grad_norm_(netG.parameters(), 0.1).item())
        optimizerG.step()
        G_losses.append(errG.item())
        D_losses.append(errD.item())

tell(
    d=D_losses,
    g=G_losses,
    norm_d=norms_d,
    norm_g=norms_g,
    rate_d=[lr] * 9,
    rate_g=[1e-3] * 9,
    weights_d=digest(netD),
    weights_g=digest(netG),
)
