"""One tool per file, named as its file. The edge loads these files too, so that they import nothing heavy at their top."""
