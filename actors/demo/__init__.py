"""The demo contest: its problems (``problems/``, standard packages), the actor that makes it, and simulated contestants that make the board move."""
