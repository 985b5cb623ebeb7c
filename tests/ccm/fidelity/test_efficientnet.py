"""EfficientNet-Lite0 from its two optional packages, or a clear error."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import ExtractorError
from ccm_pack.ccm.fidelity import efficientnet


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    with pytest.raises(ExtractorError, match="pip install efficientnet-lite-pytorch"):
        efficientnet.load_efficientnet()


@pytest.mark.skipif(not efficientnet.is_installed(), reason="EfficientNet-Lite0's packages are not installed")
def test_features_are_finite_and_tell_frames_apart(rng) -> None:
    extractor = efficientnet.load_efficientnet()
    features = extractor(rng.random((3, 100, 90)).astype(np.float32))
    assert features.shape == (3, efficientnet.FEATURES) and np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-3
    assert len(extractor.hash) == 64
