"""The codebook: Golay code, Leech lattice's minimal vectors, and computations over all of them at once."""
