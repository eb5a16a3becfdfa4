"""What tests and tools share: a tiny untrained model, damage to files, and a second implementation of the token code.

Nothing of the codec imports it.
"""
