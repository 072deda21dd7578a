"""From parsed flags to a trained model: the launcher, the training loop and its checks."""
