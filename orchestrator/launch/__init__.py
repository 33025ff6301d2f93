"""The only place that knows Ray and Optuna: the cluster, and each stage's work on it."""
