"""Talk to a running ComfyUI through its API."""
