"""Other people's formats as captures: one module a format, each with `read(source, ...) -> Capture` and `fits(source) -> bool`."""
