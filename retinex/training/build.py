"""The untrained network of an experiment."""

from retinex.experiments import Experiment, Mode
from retinex.training.networks import RetinexNet
from retinex.training.plus_network import PlusNet

Network = RetinexNet | PlusNet


def build_network(experiment: Experiment) -> Network:
    """Build the network that `experiment` trains, its weights drawn from PyTorch's generator."""
    return PlusNet() if experiment.mode is Mode.PLUS else RetinexNet(experiment)
