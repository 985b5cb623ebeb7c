"""The trainers: the WDLoRA adapter, and the embedded CCM-nano family it adapts by default."""
