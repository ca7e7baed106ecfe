"""From recordings of real things to materials: fitting, intervals, recordings and how predictions are judged."""
