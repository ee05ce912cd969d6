"""PyTorch 2.13.0 on a processor: a compiled average pool with ceil_mode has a wrong gradient.

Reported as pytorch/pytorch 198119. Prints the relative difference of the compiled gradient from the
eager one; it should be near 1e-7.
"""

import torch

pool = torch.nn.AvgPool2d(3, 2, ceil_mode=True)
images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

gradients = []
for function in (pool, torch.compile(pool)):
    leaf = images.clone().requires_grad_()
    function(leaf).square().sum().backward()
    gradients.append(leaf.grad)

eager, compiled = gradients
print(torch.__version__, f"{float((compiled - eager).norm() / eager.norm()):.3f}")
