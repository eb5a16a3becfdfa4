"""A folder of images to WebDataset shards of tokens (docs/tokens.md).

plan ─▶ tasks ─▶ executor: processes here, or Ray ─▶ outcomes ─▶ parts ─▶ shards
                 └─ worker: one image to its tokens

Workers only compute: one process writes, so nothing is there twice whatever becomes of a worker.
"""
