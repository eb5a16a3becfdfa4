from dataclasses import replace

import pytest

from leechcodec.lab import summary
from leechcodec.lab.results import Process
from tests.lab.lab_files import results, row


def test_range_and_speed_by_hand():
    images = (row(encode_s=0.3, decode_s=0.01), row(setting="q2", width=24, encode_s=0.1, decode_s=0.03))
    found = summary.summary(replace(results(), images=images, process=Process("a.png", "q1", 1.25, 0.5)))
    assert found.bpp == pytest.approx((0.1, 3.2)) and found.psnr == (25, 55)
    assert found.encode == pytest.approx(0.4e6 / (8 * 8 + 24 * 8)) and found.decode == pytest.approx(0.04e6 / 256)
    cells = summary.cells(found)
    assert cells[:3] == ("JPEG", "0.100 to 3.200", "25.0 to 55.0") and cells[5:] == ("1.25", "0.50")
    assert summary.cells(summary.summary(results()))[5:] == ("–", "–")
    assert len(summary.HEADER) == len(cells)
    assert summary.table([found], "markdown").splitlines()[2].startswith("| JPEG | 0.100 to 3.200 |")
