"""From a capture to a twin: a body to simulate, its material by identification, and a judgement of what it predicts."""
