"""The HTTP service: `create_app` builds it around an engine, `clipn serve` runs it."""
