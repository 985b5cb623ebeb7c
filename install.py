"""What ComfyUI's managers run after requirements.txt: OpenCV, if there is none yet.

OpenCV comes as four packages (opencv-python, -headless, and both with contrib) that write into one folder. Listed in
requirements.txt, ours would overwrite the one that another pack has brought, and its version with it.
"""

import importlib.util
import subprocess
import sys

OPENCV = "opencv-python-headless>=4.8"


def main():
    if importlib.util.find_spec("cv2") is not None:
        return 0
    return subprocess.call([sys.executable, "-m", "pip", "install", OPENCV])


if __name__ == "__main__":
    sys.exit(main())
