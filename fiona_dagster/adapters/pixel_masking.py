"""Suspected series have their pixels read and masked: the second half of de-identification, for few instances.

What an image of a series raised is asked of all of its images. Each is masked or held by itself: one that cannot be
decoded costs no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_copies import write_instance
from fiona_dagster.adapters.dicom_files import InstanceFile, quiet_pydicom, read_instance
from fiona_dagster.adapters.parallel import LEAST_TO_READ, run_each, run_parts
from fiona_dagster.adapters.pixel_copies import masked_pixels
from fiona_dagster.adapters.pixel_frames import describe, uses_unused_bits
from fiona_dagster.adapters.pixel_segments import examine_pixels
from fiona_dagster.adapters.release_parts import (
    Progress,
    Task,
    Treated,
    attempted,
    copy_of,
    copy_path,
    not_released,
    reporter,
)
from fiona_dagster.adapters.seen_elements import gather_originals
from fiona_dagster.adapters.text_in_pixels import read_text
from fiona_dagster.domain.deid.elements import PIXEL_TAGS
from fiona_dagster.domain.deid.engine import Deidentifier
from fiona_dagster.domain.deid.pixel_data import without_fragment_tables
from fiona_dagster.domain.deid.text import all_text
from fiona_dagster.domain.errors import FionaError, Hold
from fiona_dagster.domain.pixels.masked_attributes import follow
from fiona_dagster.domain.pixels.masks import MARGIN, Mask, Masking, around, of_template, settled
from fiona_dagster.domain.pixels.painting import masked_share
from fiona_dagster.domain.pixels.suspicion import (
    excluded_by,
    is_of_the_image_alone,
    overlay_bits,
    ultrasound_regions,
)
from fiona_dagster.domain.pixels.templates import ATTRIBUTES, fitting
from fiona_dagster.domain.pixels.texts import TextJudge
from fiona_dagster.domain.pixels.unused_bits import unused_bits

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.elements import DataSet
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
    from fiona_dagster.domain.pixels.frames import ImagePixel

_CANNOT = "pixels may carry text and cannot be masked"
_NUMBERS = frozenset({"Rows", "Columns"})


def suspected_series(treated: Sequence[Treated]) -> dict[int, str]:
    """What is to be read, by position: every instance of a series of which one is suspected, with the series' reason.

    The reason that most of its images have is the series'. What is held for another reason stays held. A scout is read
    and says nothing of the slices beside it. An image that the project excludes is not asked for the others' sake.
    """
    raised: dict[str, Counter[str]] = {}
    alone = {n: one.suspicion for n, one in enumerate(treated) if is_of_the_image_alone(one.suspicion)}
    for position, one in enumerate(treated):
        if one.suspicion and position not in alone:
            raised.setdefault(one.series, Counter())[one.suspicion] += 1
    reasons = {series: min(found, key=lambda r: (-found[r], r)) for series, found in raised.items()}
    return alone | {
        position: reasons[one.series]
        for position, one in enumerate(treated)
        if one.series in reasons
        and (one.suspicion or (one.instance.disposition == "released" and not one.keeps_pixels))
    }


def mask_suspected(
    task: Task,
    treated: Sequence[Treated],
    results: list[DeidentifiedInstance],
    left_out: Set[int],
    workers: int,
    review: Path | None,
    progress: Progress | None = None,
) -> None:
    """Read and mask suspected series, and put what became of their images into `results`.

    Compressed images are given one by one to processes of their own: a decoder that breaks down takes its process with
    it, and that image alone is held.

    Args:
        task: the study.
        treated: what became of its sources, in their order.
        results: the same for what is released, held or failed; changed here.
        left_out: positions that are not released whatever their pixels show.
        workers: processes at most.
        review: folder of previews for a person.
        progress: called with the number of images read and of all to be read.

    Raises:
        ConfigurationError, Transient: as `attempted` does.
    """
    chosen = [(index, why) for index, why in suspected_series(treated).items() if index not in left_out]
    report = reporter(progress, len(chosen))
    for compressed in (False, True):
        waiting = [one for one in chosen if treated[one[0]].compressed is compressed]
        count = max(1, min(workers, len(waiting) // LEAST_TO_READ))
        made: Sequence[DeidentifiedInstance | None] = ()
        if compressed and waiting:
            made = run_each(masker, (task, review), waiting, count, report)
        elif waiting:
            size = -(-len(waiting) // count)
            parts = [(task, waiting[begin : begin + size], review) for begin in range(0, len(waiting), size)]
            made = [one for part in run_parts(mask_part, parts, report) for one in part]
        for (index, _), result in zip(waiting, made, strict=True):
            results[index] = result or _not_survived(task.sources[index])


def mask_part(
    done: Callable[[], None], task: Task, chosen: Sequence[tuple[int, str]], review: Path | None
) -> list[DeidentifiedInstance]:
    """Read and mask the sources at the chosen positions, each with the reason; previews go to `review`."""
    treat = masker(task, review)
    results = []
    for one in chosen:
        results.append(treat(one))
        done()
    return results


def masker(task: Task, review: Path | None) -> Callable[[tuple[int, str]], DeidentifiedInstance]:
    """What reads and masks the source at a position, for a reason."""
    mask = _Masker(task, review)

    def treat(chosen: tuple[int, str]) -> DeidentifiedInstance:
        position, reason = chosen
        with quiet_pydicom():
            return mask.treat(task.sources[position], reason)

    return treat


def _not_survived(source: SourceInstance) -> DeidentifiedInstance:
    """A source whose pixels ended the programs that read them."""
    return not_released(
        source, "held", f"{_CANNOT}: the program that decodes them breaks down or does not end"
    )


class _Masker:
    def __init__(self, task: Task, review: Path | None) -> None:
        values = gather_originals(task.sources, task.request)
        project = task.request.project
        self._policy, self._folder, self._review = project.pixels, task.request.folder, review
        self._shown: set[str] = set()  # series of which a person is shown an image
        self._engine = Deidentifier(task.profile, task.request, task.key, lambda: values, searched=True)
        self._judge = TextJudge(values, self._policy, dates=project.date_mode != "keep")

    def treat(self, source: SourceInstance, reason: str) -> DeidentifiedInstance:
        def make() -> DeidentifiedInstance:
            try:
                return self._masked(source, read_instance(source.path), reason)
            except (FionaError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 — whatever a decoder raises; its message may hold values
                raise Hold(f"{_CANNOT}: {type(error).__name__}") from None

        return attempted(source, make)

    def _masked(self, source: SourceInstance, file: InstanceFile, reason: str) -> DeidentifiedInstance:
        found = examine_pixels(file)
        if found.reason:
            raise Hold(found.reason)
        dataset = file.dataset if found.offsets_fit else without_fragment_tables(file.dataset)
        clean, syntax = self._engine.clean(dataset, file.behind), file.transfer_syntax_uid
        path = copy_path(clean)
        if file.pixels is None and PIXEL_TAGS.isdisjoint(dataset.places):
            return copy_of(source, clean, path, *write_instance(self._folder / path, clean, file), syntax)
        image = describe(source.path)
        masking = self._masking(source.path, dataset, image, reason)
        pixels, new = None, None
        if masking.changes_pixels:
            made = masked_pixels(file, image, masking)
            pixels, masking, new = made.pixels, made.masking, made.reencoded
        clean = clean._replace(before=follow(clean.before, dataset.syntax, masking, image, new))
        digest, size = write_instance(self._folder / path, clean, file, pixels)
        copy = copy_of(source, clean, path, digest, size, masking.transfer_syntax_uid or syntax)
        result = replace(copy, masking=masking)
        self._preview(source, result, dataset, image)
        return result

    def _masking(self, path: Path, dataset: DataSet, image: ImagePixel, reason: str) -> Masking:
        if excluded := excluded_by(dataset, self._policy):
            return Masking(reason, overlay_bits=overlay_bits(dataset), excluded_by=excluded)
        described = describe_device(dataset)
        template = fitting(self._policy.templates, described)
        masks: list[Mask] = []
        sources: list[str] = []
        regions = ultrasound_regions(dataset) if template is None or template.regions else ()
        if regions:
            masks += around(regions, image)
            sources.append("ultrasound regions")
        if template is not None:
            masks += of_template(template, image)
            sources.append(f"template {template.name}")
        if template is None or template.read:
            masks += self._read(path, image)
            sources.append("reading")
        bits = overlay_bits(dataset)
        if uses_unused_bits(path, image, besides=bits):
            bits |= unused_bits(image)
        masking = Masking(reason, tuple(sources), settled(masks, image), bits)
        return replace(masking, share=masked_share(masking, image))

    def _read(self, path: Path, image: ImagePixel) -> list[Mask]:
        found = read_text(path)
        if len(found.read) != found.frames or found.frames != image.number_of_frames:
            raise Hold(f"{_CANNOT}: not every frame could be read")
        boxes = [
            one.grown(MARGIN, rows=found.rows, columns=found.columns)
            for one in self._judge.to_mask(found.boxes)
        ]
        return [Mask(b.first_frame, b.last_frame, b.left, b.top, b.width, b.height) for b in boxes]

    def _preview(
        self, source: SourceInstance, result: DeidentifiedInstance, dataset: DataSet, image: ImagePixel
    ) -> None:
        """What was overlooked can only be seen where nothing was masked: such images are sampled like the others."""
        from fiona_dagster.adapters.pixel_review import is_sampled, write_preview

        policy, series = self._policy, result.series_instance_uid
        if self._review is None or not policy.reviewed_percent:
            return
        is_first = series not in self._shown and result.masking is not None and result.masking.changes_pixels
        if is_first or is_sampled(result.sop_instance_uid, policy.reviewed_percent):
            if is_first:
                self._shown.add(series)
            write_preview(
                self._review, source.path, self._folder / result.path, result, describe_device(dataset)
            )


def describe_device(dataset: DataSet) -> dict[str, str]:
    """What a template may ask of an object, by keyword."""
    order = "little" if dataset.syntax.little else "big"
    return {
        keyword: str(int.from_bytes(dataset.value(tag), order))  # type: ignore[arg-type]
        if keyword in _NUMBERS
        else "\\".join(all_text(dataset, tag))
        for keyword, tag in ATTRIBUTES.items()
    }
