"""The rate-distortion laboratory: this codec and its peers on the same images, through real files.

datasets ─▶ evaluate (peers, measure, metrics, cache) ─▶ results/<codec>.json ─▶ plot, bdrate, report

Nothing of the codec imports the laboratory. Its libraries come with ``pip install 'leechcodec[eval]'``, further peers
with ``leechcodec[peers]`` and ``leechcodec[compressai]``.
"""
