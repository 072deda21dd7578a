"""TensorFlow on this machine: sessions, cores, memory pages, and the log messages of C++ libraries."""
