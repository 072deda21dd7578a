"""What several commands use: audio decoding, text normalisation, files, exit codes, interrupts."""
