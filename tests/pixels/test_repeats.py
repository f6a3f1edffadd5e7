"""What changed between two frames, and what must be read again because of it."""

from __future__ import annotations

import numpy as np

from fiona_dagster.domain.pixels.boxes import Box, FramesText, joined_in_time
from fiona_dagster.domain.pixels.repeats import (
    TILE,
    Region,
    changed_tiles,
    is_unchanged_somewhere,
    regions_to_read,
)


def test_one_changed_sample_changes_its_tile_alone() -> None:
    before = np.zeros((100, 130, 3), dtype=np.uint8)
    now = before.copy()
    now[99, 129, 2] = 1
    changed = changed_tiles(before, now)
    assert changed.shape == (4, 5)
    assert np.argwhere(changed).tolist() == [[3, 4]]
    floats = np.full((8, 8), np.nan)
    assert not changed_tiles(floats, floats.copy()).any()


def test_all_changed_tiles_lie_in_regions_with_a_tile_around_them() -> None:
    changed = np.zeros((8, 8), dtype=bool)
    changed[0, 0] = changed[4, 4] = changed[4, 5] = True
    regions = regions_to_read(changed, [], rows=250, columns=256)
    assert regions == [Region(0, 0, 64, 64), Region(96, 96, 224, 192)]
    assert regions_to_read(np.zeros((8, 8), dtype=bool), [], rows=250, columns=256) == []


def test_a_line_that_reaches_into_a_change_is_read_whole_and_everything_it_touches() -> None:
    changed = np.zeros((8, 8), dtype=bool)
    changed[0, 0] = True
    line, beside, far = (
        Box(0, 0, 50, 10, 150, 12),
        Box(0, 0, 190, 18, 30, 40),
        Box(0, 0, 10, 200, 20, 20),
    )
    (region,) = regions_to_read(changed, [line, beside, far], rows=256, columns=256)
    assert region == Region(0, 0, 220, 64)


def test_a_box_is_forgotten_only_if_everything_under_it_changed() -> None:
    changed = np.zeros((4, 4), dtype=bool)
    changed[1, 1:3] = True
    assert not is_unchanged_somewhere(Box(0, 0, TILE, TILE, 2 * TILE, TILE), changed)
    assert is_unchanged_somewhere(Box(0, 0, TILE - 1, TILE, 2 * TILE, TILE), changed)


def test_boxes_of_frames_that_follow_each_other_become_one() -> None:
    boxes = [Box(frame, frame, 1, 2, 3, 4, "ID", 0.9) for frame in (0, 1, 2, 5)] + [
        Box(1, 1, 1, 2, 3, 4, "NO", 0.5)
    ]
    text = FramesText(8, 8, 6, tuple(range(6)), tuple(joined_in_time(boxes)))
    assert sorted((box.text, box.first_frame, box.last_frame) for box in text.boxes) == [
        ("ID", 0, 2),
        ("ID", 5, 5),
        ("NO", 1, 1),
    ]
    assert [len(text.of_frame(index)) for index in range(6)] == [1, 2, 1, 0, 0, 1]


def test_a_box_grows_up_to_the_edge_of_its_frame() -> None:
    grown = Box(0, 0, 1, 1, 5, 5).grown(3, rows=7, columns=20)
    assert (grown.left, grown.top, grown.right, grown.bottom) == (0, 0, 9, 7)
