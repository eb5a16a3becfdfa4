"""The detail layer: what a decoded picture lacks, coded as points of all of the Leech lattice."""
