"""How a PyTorch side trains: its optimiser, schedule, step and batches."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportOperatorIssue=false

import copy
import math

import torch
from ingredients import Recipe
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler


def optimiser_of(recipe: Recipe, module: nn.Module):
    word = recipe("optimiser")
    parameters = list(module.parameters())
    if word == "plain":
        return torch.optim.Adam(parameters, 1e-3)
    number = recipe.number("optimiser")
    if word == "sgd":
        return torch.optim.SGD(parameters, number)
    if word == "sgd_decay":
        return torch.optim.SGD(parameters, 0.05, weight_decay=number)
    if word == "adam":
        return torch.optim.Adam(parameters, number)
    if word == "adamw":
        return torch.optim.AdamW(parameters, 1e-3, weight_decay=number)
    if word == "adamw_small_rate":
        return torch.optim.AdamW(parameters, 3e-5, weight_decay=number)
    if word == "adamw_two_groups":
        groups = [{"params": parameters[:2]}, {"params": parameters[2:]}]
        return torch.optim.AdamW(groups, 1e-3, weight_decay=number)
    if word == "adam_decoupled":
        return torch.optim.Adam(parameters, 1e-3, weight_decay=number, decoupled_weight_decay=True)
    if word == "group_rate":
        groups = [{"params": parameters[:2], "lr": number}, {"params": parameters[2:]}]
        return torch.optim.Adam(groups, 1e-3)
    if word == "amsgrad":
        return torch.optim.Adam(parameters, 1e-3, amsgrad=True)
    raise AttributeError(word)


def scheduled(recipe: Recipe, optimiser):
    word = recipe("schedule")
    if word == "plain":
        return None
    steps = int(recipe.number("schedule"))
    by_rule = {
        "cosine_by_hand": lambda n: (1 + math.cos(math.pi * n / steps)) / 2,
        "stairs_by_hand": lambda n: 0.1 ** (n // steps),
        "warm_by_hand": lambda n: min(1.0, (n + 1) / steps),
        "exponential_by_hand": lambda n: 0.5 ** (n / steps),
    }
    if word in by_rule:
        return lr_scheduler.LambdaLR(optimiser, by_rule[word])
    return {
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimiser, steps),
        "stairs": lambda: lr_scheduler.StepLR(optimiser, steps, 0.1),
        "stairs_listed": lambda: lr_scheduler.MultiStepLR(
            optimiser, [steps * i for i in range(1, 12)], 0.1
        ),
        "warm": lambda: lr_scheduler.LinearLR(optimiser, 1 / steps, 1.0, steps - 1),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimiser, 0.5 ** (1 / steps)),
        "one_cycle": lambda: lr_scheduler.OneCycleLR(optimiser, 1e-3, steps),
        "polynomial": lambda: lr_scheduler.PolynomialLR(optimiser, steps),
    }[word]()


def step_of(recipe: Recipe, module: nn.Module, loss, optimiser, scheduler):
    """The user's own step; None where the audit may take the plain one."""
    word = recipe("step")
    if word == "plain" and scheduler is None:
        return None
    number = recipe.number("step") if word != "plain" else 0
    count = 0
    copied = word.startswith(("average", "lookahead"))
    average = [p.detach().clone() for p in module.parameters()] if copied else []
    teacher = copy.deepcopy(module).requires_grad_(False) if word == "teacher" else None

    def step(x, y):
        nonlocal count
        count += 1
        if word.startswith("accumulate"):
            return accumulated(x, y)
        if word == "unfreeze":
            module.convolution.requires_grad_(count > number)
        if word == "freeze":
            module.convolution.requires_grad_(count <= number)
        optimiser.zero_grad()
        if word == "noise":
            x = x + number * torch.randn_like(x)
        if word == "noise_of_normal":
            x = x + torch.normal(0.0, number, x.shape).to(x.dtype)
        outputs = module(x)
        value = loss(outputs, y)
        if teacher is not None:
            value = value + F.mse_loss(outputs.softmax(1), teacher(x).softmax(1))
        value.backward()
        if word == "noisy_gradients":
            for p in module.parameters():
                p.grad += number * torch.randn_like(p.grad)
        if word == "unfreeze_by_gradient" and count <= number:
            module.convolution.weight.grad = module.convolution.bias.grad = None
        if word == "clip":
            nn.utils.clip_grad_norm_(module.parameters(), number)
        if word == "clip_values":
            nn.utils.clip_grad_value_(module.parameters(), number)
        if word == "late_rate" and count > number:
            for group in optimiser.param_groups:
                group["lr"] = 1e-4
        if word == "scaled":
            value.detach_()
        if not (word == "skip_large" and largest(module) > number):
            optimiser.step()
        if scheduler:
            scheduler.step()
        if word == "average_back":  # Every so many steps, the weights become their average.
            averaged()
        if word.startswith("lookahead") and count % number == 0:
            looked_ahead()
        if teacher is not None:
            with torch.no_grad():
                for mean, p in zip(teacher.parameters(), module.parameters(), strict=True):
                    mean.lerp_(p, number)
        return value.detach()

    def accumulated(x, y):
        value = loss(module(x), y)
        if word == "accumulate":
            (value / number).backward()
        else:  # The sum is divided before the step.
            value.backward()
        if count % number == 0:
            if word == "accumulate_sum":
                for p in module.parameters():
                    p.grad /= number
            optimiser.step()
            optimiser.zero_grad()
        return value.detach()

    def averaged():
        with torch.no_grad():
            for mean, p in zip(average, module.parameters(), strict=True):
                mean.lerp_(p, 0.1)
                if count % number == 0:
                    p.copy_(mean)

    def looked_ahead():
        with torch.no_grad():
            for slow, p in zip(average, module.parameters(), strict=True):
                if word == "lookahead":
                    slow += 0.5 * (p - slow)
                else:  # As a sum of both.
                    slow.mul_(0.5).add_(p, alpha=0.5)
                p.copy_(slow)

    return step


def largest(module: nn.Module) -> float:
    return max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)


def batches_of(recipe: Recipe):
    """The user's batches; None where there is nothing to say."""
    word = recipe("batches")
    if word == "plain":
        return None
    number = recipe.number("batches") if recipe.ingredients["batches"][1] else 0
    epoch = 0

    def batches(x, y):
        nonlocal epoch
        epoch += 1
        order = torch.randperm(len(x))
        if word == "shuffled_by_sort":
            order = torch.rand(len(x)).argsort()
        for rows in order.split(16):
            yield changed(word, number, epoch, x[rows], y[rows])

    return batches


def changed(word: str, number: float, epoch: int, x, y):
    """A batch as the recipe changes it."""
    each = (len(x), *[1] * (x.ndim - 1))
    if word in ("shuffled", "shuffled_by_sort"):
        return x, y
    if word == "scaled":
        return x * number, y
    if word == "scaled_by_division":
        return x / (1 / number), y
    if word == "flip" or (word == "late_flip" and epoch > number):
        rate = number if word == "flip" else 0.5
        return torch.where(torch.rand(each) < rate, x.flip(-1), x), y
    if word == "late_flip":
        return x, y
    if word == "flip_by_index":
        chosen = torch.bernoulli(torch.full((len(x),), number)).bool()
        x = x.clone()
        x[chosen] = x[chosen].flip(-1)
        return x, y
    if word == "noise":
        return x + number * torch.randn(x.shape), y
    if word == "noise_of_normal":
        return x + torch.normal(0.0, number, x.shape), y
    if word == "brightness":
        return x + number * (2 * torch.rand(each) - 1), y
    if word == "brightness_uniform":
        return x + torch.empty(each).uniform_(-number, number), y
    if word in ("contrast", "contrast_by_mean"):
        factor = 1 + number * (2 * torch.rand(each) - 1)
        mean = x.mean((1, 2, 3), keepdim=True)
        return (x - mean) * factor + mean if word == "contrast" else torch.lerp(mean, x, factor), y
    if word in ("crop", "crop_by_roll"):
        return cropped(word, int(number), x), y
    if word == "erase":
        x = x.clone()
        for image in x:
            row = int(torch.randint(0, x.shape[-1] - int(number) + 1, ()))
            image[..., row : row + int(number), :] = 0
        return x, y
    if word in ("mixup", "mixup_by_lerp"):
        share = float(torch.distributions.Beta(number, number).sample())
        other = torch.randperm(len(x))
        if word == "mixup":
            return share * x + (1 - share) * x[other], y
        return torch.lerp(x[other], x, share), y
    if word == "mixed_fixed":
        return number * x + (1 - number) * x.roll(1, 0), y
    if word == "cutmix":
        size = int(number)
        x = x.clone()
        x[..., :size, :size] = x.roll(1, 0)[..., :size, :size]
        return x, y
    raise AttributeError(word)


def cropped(word: str, most: int, x):
    """Each image moved by up to so many pixels, with zeros at the edges."""
    padded = nn.functional.pad(x, [most] * 4)
    size, parts = x.shape[-1], []
    for image in padded:
        down, right = torch.randint(0, 2 * most + 1, (2,)).tolist()
        if word == "crop":
            parts.append(image[..., down : down + size, right : right + size])
        else:
            parts.append(image.roll((-down, -right), (-2, -1))[..., :size, :size])
    return torch.stack(parts)
