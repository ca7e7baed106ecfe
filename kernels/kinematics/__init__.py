"""Motion of trees of joints."""
