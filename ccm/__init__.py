"""The domain of ComfyUI-CCM: phantoms, adapters, morphometry, fidelity. It needs no ComfyUI."""
