"""How parameters change: solvers, updates, policies, snapshots, several solvers at once."""
