import os
from pathlib import Path

import pytest

from retinex import machine


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1)]
)
def test_threads_follow_a_containers_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "CPU_LIMIT", tmp_path / "cpu.max")
    assert machine.usable_cores() == 8
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(("limit", "memory"), [("max", 80), ("60", 60), ("100", 80)])
def test_memory_follows_a_containers_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, memory: int
) -> None:
    has = {"SC_PAGE_SIZE": 8, "SC_PHYS_PAGES": 10}
    monkeypatch.setattr(os, "sysconf", has.__getitem__, raising=False)
    monkeypatch.setattr(machine, "MEMORY_LIMIT", tmp_path / "memory.max")
    assert machine.usable_memory() == 80
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert machine.usable_memory() == memory
