"""Records of cells: how they are written, and read into statistics and tables."""
