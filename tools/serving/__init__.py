"""The server of tools/serve.py: transcription over HTTP, with OpenAI's interface, and live over a WebSocket."""
