"""Follows a solver's iterations: where the passes and updates of each layer begin and end."""

from __future__ import annotations

PHASES = ("forward", "backward", "update")
SEVERAL = "several layers"  # whose parameters are updated together


def distinct(names):
    """The names, those that are there again as `name (2)` and so on."""
    count, found = {}, []
    for name in names:
        count[name] = count.get(name, 0) + 1
        found.append(name if count[name] == 1 else f"{name} ({count[name]})")
    return found


class LayerClock:
    """Calls `begin(phase, layer name)` and `end()` around each layer's part of an iteration.

    A callback after_backward would keep the solver from updating parameters early, so a layer's
    backward pass ends where the next layer's begins. What is between an update and the next
    layer, memory that is given back, belongs to none. `follow` ends the last part.
    """

    def __init__(self, solver, begin, end):
        self.solver, self.begin, self.end = solver, begin, end
        self.names = distinct(solver.net._layer_names)
        self.following = self.open = False
        net = solver.net
        net.before_forward(lambda i: self._next("forward", i))
        net.after_forward(lambda i: self.close())
        net.before_backward(lambda i: self._next("backward", i))
        self._follow_updates()

    def _follow_updates(self):
        """Updates have no callback: the solver's own function for them is wrapped."""
        update = self.solver._update
        blobs, by_diff = self.solver.net._learnable.blobs, {}
        for name, layer in zip(self.names, self.solver.net.layers):
            for blob in layer.blobs:
                by_diff.setdefault(id(blob._diff), name)
        owners = [by_diff[id(blob._diff)] for blob in blobs]

        def followed(numbers, *rest):
            numbers = list(numbers)
            if not (numbers and self.following):
                return update(numbers, *rest)
            self.close()
            names = {owners[number] for number in numbers}
            self._open("update", names.pop() if len(names) == 1 else SEVERAL)
            update(numbers, *rest)
            self.close()

        self.solver._update = followed

    def follow(self, iterations=1):
        """Run `solver.step` with the clock on."""
        self.following = True
        try:
            self.solver.step(iterations)
        finally:
            self.close()
            self.following = False

    def _next(self, phase, number):
        self.close()
        if self.following:
            self._open(phase, self.names[number])

    def _open(self, phase, name):
        self.open = True
        self.begin(phase, name)

    def close(self):
        """End the part that is followed now, if any."""
        if self.open:
            self.end()
        self.open = False
