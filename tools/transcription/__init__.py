"""Parts of tools.transcribe: the forms of a transcript, where transcripts go, and sound that comes live."""
