"""What the nets are: tasks, net specs, and the generator of `prototxt/nets/<task>/<net>/`."""
