"""Linear solvers on block matrices: diagonal blocks first, then the strictly lower triangle row by row."""
