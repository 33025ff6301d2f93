"""What needs several nodes, real servers or minutes: `make chaos` alone runs these."""
