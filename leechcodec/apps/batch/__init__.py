"""Many images at once: one engine for encode, decode and tokenize (docs/scale.md).

names ─▶ tasks ─▶ driver: threads, processes or Ray ─▶ outcomes ─▶ files.py: a manifest, a summary
                  └─ worker: one image                         └─▶ apps/shards: parts, shards

Tasks are made as workers ask for them, so what is held does not grow with the number of images. An image whose worker
dies, or whose file cannot be read, is tried again after the others.
"""
