"""The torch plug-in keeps the promises, as ``tachograph.testing`` states them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from tachograph.testing import check_plugin


def plain_loop() -> Any:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(40, 3), torch.randn(40, 1)), batch_size=10, shuffle=True)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return [parameter.detach().numpy().copy() for parameter in model.parameters()] + [torch.rand(3).numpy()]


def test_torch() -> None:
    check_plugin("tachograph_frameworks.torch", plain_loop)
