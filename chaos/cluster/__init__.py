"""A real cluster on this machine: private engines, and CodeWarz as several processes on them. People run one (``make cluster``), so do chaos and tests."""

from chaos.cluster.cluster import Cluster, Shape
from chaos.cluster.node import Node

__all__ = ["Cluster", "Node", "Shape"]
