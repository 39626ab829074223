"""The losses of every iteration, to whom it may concern."""

from __future__ import annotations


def watch(solver, see):
    """Call `see(iteration, {output: array})` with the loss outputs of every forward pass, before a
    parameter changes by them; on a GPU some iterations later, at the latest before a snapshot.
    (A solver's own callbacks would have all gradients kept.)"""
    if hasattr(solver, "watch_losses"):
        solver.watch_losses(see)
        return
    net = solver.net
    names = [name for name in net.outputs if net.blob_loss_weights[name]]

    def after_layer(layer):
        if layer == len(net.layers) - 1:
            see(solver.iter, {name: net.blobs[name].data for name in names})

    net.after_forward(after_layer)
