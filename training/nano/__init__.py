"""Training of the embedded CCM-nano family on procedural phantoms only.

    phantoms -> autoencoder -> base + control net + prompt encoder -> adapter (in ..adapter)
             -> nerve segmentation
"""
