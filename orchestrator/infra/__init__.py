"""Manifests for Kubernetes: what would be applied, whether it could work, and the way to a cluster by kubectl."""
