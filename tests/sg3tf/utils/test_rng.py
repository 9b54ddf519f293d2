"""Random streams: present numbers, one purpose per stream."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.utils import rng
from sg3tf.utils.rng import Purpose

#: First word of each stream at seed 7 and position 48, recorded when the purpose was new.
FIRST_WORDS = {
    0: 9102721134145978148,
    1: 1613833161993644673,
    2: 1733877531088915508,
    3: 13507688168902229500,
    4: 2273329838934620647,
    5: 16212044708776650121,
    6: 13204321498109227051,
    7: 10281640416213956158,
    8: 4395298912014197356,
    9: 590940675919241337,
    10: 7647854612138928535,
    18: 12559400996069370471,
    19: 4824472983321078237,
    21: 10396386698354623276,
    37: 5235130819347708261,
    41: 7343784736966574759,
    42: 9236675343117645196,
    43: 17921420891368278431,
    44: 15166946442975920810,
    45: 16517344580284324977,
    46: 17788575649286860346,
    47: 16770552244610187003,
    48: 12710694962191769592,
    1001: 5469279993068605732,
    1002: 9941082935635418777,
    1003: 1078318466159003378,
    1004: 14169978811061745047,
    1005: 4309853274354284560,
    1006: 2108575129749863661,
}


def test_purposes_are_unique_and_complete():
    assert len(Purpose.__members__) == len(set(Purpose)) == len(FIRST_WORDS)  # an alias would be a member, too
    assert {purpose.value for purpose in Purpose} == set(FIRST_WORDS)


@pytest.mark.parametrize("purpose", Purpose)
def test_streams_have_their_recorded_numbers(purpose):
    assert rng.philox(7, purpose, 48).random_raw(1).tolist() == [FIRST_WORDS[purpose]]


SEEDS = (0, 2**32, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1)


def test_every_key_changes_the_stream():
    keys = [(seed, purpose, position) for seed in SEEDS for purpose in Purpose for position in (0, 1, 8)]
    assert len({rng.philox(*key).random_raw(1)[0] for key in keys}) == len(keys)


def test_generator_draws_from_the_stream():
    drawn = rng.generator(7, Purpose.METRIC_SUBSETS).random(2)
    np.testing.assert_array_equal(drawn, [0.2782088248561194, 0.2550738738020457])
