"""The two halves of `make demo`: pretraining, and the adaptation of the model that the project ships."""
