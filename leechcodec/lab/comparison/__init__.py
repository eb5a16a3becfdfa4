"""Comparisons of models that are trained for them. Each runs as ``python -m leechcodec.lab.comparison.NAME``.

compare_quantizers     every quantizer in the same network, with quantizer_runs and quantizer_figure
compare_single_rate    one dial against a model for each quality
ablate                 each part of the recipe, one change per row
kodak_table            results of ``leechcodec eval`` as Markdown
"""
