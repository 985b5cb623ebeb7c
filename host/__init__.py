"""Find, provision, start and stop a ComfyUI. Standard library only, so that any Python can start it.

Two environment variables skip the provisioning: COMFYUI_PATH names a ComfyUI, CCM_PYTHON an interpreter that
has everything ComfyUI and the pack need.
"""
