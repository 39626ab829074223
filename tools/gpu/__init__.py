"""The GPU report: what a card does with this toolkit, stage by stage (docs/gpu.md)."""
