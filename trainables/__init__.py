"""What a worker runs: corpora in, weights out. Knows torch; knows nothing of Ray, Optuna or MLflow."""
