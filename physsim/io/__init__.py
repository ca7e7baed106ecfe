"""The one door for files that come in: meshes and tables, checked before anything is computed with them."""
