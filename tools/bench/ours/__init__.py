"""What the benchmark times of our code: one module for each kind of worker."""
