"""What the benchmark times of the peers; most modules run in the peers' environment, without TensorFlow."""
