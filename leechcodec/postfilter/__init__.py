"""The post-filter: a few coefficients a picture, by which its decoder brings colours, tones and edges nearer to it."""
