"""Losses: pure functions of tensors, each the mean over the batch. Which term counts when is a method's affair."""
