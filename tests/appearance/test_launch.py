"""Devices as users name them."""

import pytest
import torch

from physsim.appearance.launch import torch_device
from physsim.errors import InputError


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two CUDA devices, of which torch uses the second one now."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


def test_cuda_alone_is_the_device_that_torch_uses_now(two_gpus):
    assert torch_device("cuda") == torch.device("cuda:1")
    assert torch_device("cuda:0") == torch_device(torch.device("cuda:0")) == torch.device("cuda:0")


def test_the_cpu_is_the_cpu():
    assert torch_device("cpu") == torch_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:2", 1.5])
def test_devices_that_cannot_draw_are_refused(name, two_gpus):
    with pytest.raises(InputError, match=r"device = .*use .*'cpu'"):
        torch_device(name)


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="device = 'cuda': 0 CUDA devices are found"):
        torch_device("cuda")
