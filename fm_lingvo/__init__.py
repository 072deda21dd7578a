"""fm_lingvo: declarative experiments for adapting speech foundation models."""
