import platform
import subprocess
import sys

import pytest

TRAIN = """
import resource
import torch
from retinex.training.memory import keep_freed_memory

net = torch.nn.Sequential(*(torch.nn.Conv2d(64, 64, 1) for _ in range(4)))
maps = torch.rand(16, 64, 96, 96)

def train():
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        net(maps).mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(train())
keep_freed_memory()
print(train())
"""
"""Prints how many pages the system cleared for the fourth step, without and with."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc")
def test_steps_use_the_memory_of_former_steps() -> None:
    done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, check=True)
    plain, kept = map(int, done.stdout.split())
    assert kept < plain / 4
