"""Siemens CSA headers and protocols with everything blanked that is not known to be harmless.

Three forms are read: the CSA header (magic `SV10`, or without magic as older scanners write it), the protocol as text
(`MrPhoenixProtocol` inside of it, and alone in (0021,xx19) of `SIEMENS MR SDS 01`), and two blocks of GE
(`ge_protocol`). The layout of the header stands in `siemens_csa`. Elements and protocol lines stay by name, and only
with values of the form that their name has: numbers, or one of the scanner's own codes. Everything else is blanked
where it stands, so that lengths and offsets remain and readers such as dcm2niix read on. Bytes that no reader looks
at (behind the end of a name or value, behind the last element) are blanked, too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from fiona_dagster.domain.deid.ge_protocol import clean_ge_protocol, clean_ge_user_data, is_ge_protocol

Terms = Callable[[str], bool]
"""Whether a text holds something identifying that is known from elsewhere."""

MAGIC = b"SV10"
_MOST_ELEMENTS = 1000
_MOST_WORD = 1 << 24
_ELEMENT = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<4i")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_VR = re.compile(rb"[A-Z]{2}")
_END_MARKS = frozenset({77, 205, 0})

NUMBER = (
    rb"(?!(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4,6})?(?:\.\d*)?(?![\d.]))"
    rb"[-+]?(?:\d{1,10}(?:\.\d*)?|\.\d+)(?:[Ee][-+]?\d{1,3})?"
)
"""A number that is neither a date, with or without a time, nor as long as an identity number."""
_NUMERIC = re.compile(NUMBER)
_COIL_ELEMENT = rb"(?:BC|BL|BR|HC|HN|NC|PA|SP|[HN]E[AP]?|[A-Z]{1,2}(?=\d))"
_COIL = rb"(?:[CT]:)?%b\d{0,2}(?:[;,-](?:%b\d{0,2}|\d{1,2}))*" % (_COIL_ELEMENT, _COIL_ELEMENT)
"""Elements of coils by name, and what has a number: three letters alone would be a name's, too."""

_NUMBERS = frozenset(
    b"""
    Actual3DImaPartNumber AbsTablePosition AutoAlignMatrix B1rms B_matrix B_value BandwidthPerPixelPhaseEncode
    Columns CsiImageOrientationPatient CsiImagePositionPatient CsiPixelSpacing CsiSliceLocation CsiSliceThickness
    DataPointColumns DataPointRows DiffusionGradientDirection DwellTime EchoColumnPosition EchoLinePosition
    EchoNumbers EchoPartitionPosition EchoTime EchoTrainLength FMRIStimulLevel FlipAngle FlowEncodingDirection
    FlowVenc GradientDelayTime GradientEchoTrainLength ImaAbsTablePosition ImaRelTablePosition
    ImageOrientationPatient ImagePositionPatient ImagingFrequency InversionTime Isocentered LQAlgorithm
    MagneticFieldStrength MeasuredFourierLines MoCoQMeasure MosaicRefAcqTimes MultistepIndex NonPlanarImage
    NormalizeManipulated NumberOfAverages NumberOfFrames NumberOfImagesInMosaic NumberOfPhaseEncodingSteps
    NumberOfPrescans Operation_mode_flag PercentPhaseFieldOfView PercentSampling PhaseEncodingDirectionPositive
    PhaseGradientAmplitude PixelBandwidth PixelSpacing ProtocolSliceNumber RBMoCoRot RBMoCoTrans
    RFEchoTrainLength ReadoutGradientAmplitude ReadoutOS RealDwellTime RelTablePosition RepetitionTime
    RepetitionTimeEffective RfWatchdogMask Rows SARMostCriticalAspect SW_korr_faktor SarWholeBody Sed
    SelectionGradientAmplitude SequenceMask SliceArrayConcatenations SliceLocation SliceMeasurementDuration
    SliceNormalVector SlicePosition_PCS SliceResolution SliceThickness Stim_faktor Stim_lim
    Stim_max_ges_norm_online Stim_max_online Stim_mon_mode TablePositionOrigin TalesReferencePower
    TimeAfterStart TransmitterCalibration TriggerTime UsedChannelMask VoxelInPlaneRot VoxelNormalCor
    VoxelNormalSag VoxelNormalTra VoxelPhaseFOV VoxelPositionCor VoxelPositionSag VoxelPositionTra
    VoxelReadoutFOV VoxelThickness dBdt_limit dBdt_max dBdt_thresh t_puls_max
    """.split()
)
"""Elements whose values are numbers that the scanner set or measured. The patient's weight is none of them."""
_CODES = {
    name: re.compile(form)
    for name, form in {
        b"AcquisitionMatrixText": rb"\d{1,4}[ps]?\*\d{1,4}[ps]?(?:\*\d{1,4})?",
        b"CoilString": _COIL,
        b"DiffusionDirectionality": rb"NONE|DIRECTIONAL|ISOTROPIC|BMATRIX",
        b"FlowCompensation": rb"Yes|No|Read|Slice|Phase|Slice/Read|Through Slice",
        b"GradientMode": rb"(?:Fast|Normal|Whisper|Ultra ?Fast|Performance)\*?",
        b"ICE_Dims": rb"[X\d]{1,5}(?:_[X\d]{1,5})*",
        b"ImaCoilString": _COIL,
        b"ImaPATModeText": rb"p\d{1,2}(?:s\d{1,2})?(?: ?[a-z]\d)?",
        b"ImageHistory": rb"ChannelMixing:ND=(?:true|false)(?:_[A-Z]{3}=\d{1,2})*"
        rb"|CC:(?:SoS|ComplexAdd|AdaptiveCombine|AdaptCombine|ACC)",
        b"Laterality4MF": rb"[BLRU]",
        b"PATModeText": rb"p\d{1,2}(?:s\d{1,2})?(?: ?[a-z]\d)?",
        b"PhaseSliceOversampling": rb"NONE|2D|3D|2D_3D|PHASE|SLICE",
        b"PositivePCSDirections": rb"[-+][AFHLPR]{3}",
        b"UsedChannelString": rb"[-X]+",
    }.items()
}
_PROTOCOLS = frozenset({b"MrPhoenixProtocol", b"MrProtocol"})

_PROTOCOL_BEGIN = b"### ASCCONV BEGIN"
_PROTOCOL_END = b"### ASCCONV END ###"
_PLAIN_BEGIN = b"### ASCCONV BEGIN ###"
_BEGIN_LINE = re.compile(
    rb"### ASCCONV BEGIN(?: object=MrProtDataImpl@MrProtocolData)?(?: version=\d{1,10})?"
    rb"(?: converter=%MEASCONST%/ConverterList/Prot_Converter\.txt)? ###"
)
_COIL_MODEL = (
    rb"(?:Ankle|Body|BodyMatrix|Breast|FlexLarge|FlexSmall|Foot|FootAnkle|HandWrist|Head|HeadMatrix|HeadNeck|Knee"
    rb"|Loop|Neck|NeckMatrix|PeripheralAngio|PeripheralA|Shoulder|Spine|SpineMatrix|TxRxHead|TxRxKnee|UltraFlex"
    rb"|Wrist)(?:_?(?:\d{1,3}|TCS|TS|TX|CP|A|L|S)){0,4}"
)
_BASELINE = rb"N4_V[A-Z]\d\d[A-Z]?_LATEST_\d{8}(?:_P\d{1,2})?"
_NUCLEUS = rb"\d{1,3}[A-Z][a-z]?"
_STRUCTURES = frozenset(
    b"""
    sAAInitialOffset sAdjData sAngio sAsl sAutoAlign sBladePara sChannelMatrix sDiffusion sDistortionCorrFilter
    sDixonData sFastImaging sGRADSPEC sGroupArray sIR sInteractive sInversionArray sKSpace sMDS sMds sNavigatorArray
    sNavigatorPara sNoiseDecorrData sPTXData sParametricMapping sPat sPhysioImaging sPreScanNormalizeFilter
    sPrepPulses sRSatArray sRXSPEC sSliceAcceleration sSliceArray sSpecPara sTXSPEC sWipMemBlock
    acFlowComp adFlipAngleDegree alRepetitionsDelayTimeMs alTD alTE alTI alTR asDynmicAdjustVolumes
    ucBOLDParadigmArray
    """.split()
)
_SCALARS = frozenset(
    b"""
    bPtabAbsStartPosZValid dAveragesDouble dRefSNR dRefSNR_VOI dTissueT1 dTissueT2 lAverages lCombinedEchoes
    lContrasts lDelayTimeInTR lInvContrasts lParadigmPeriodicity lPtabAbsStartPosZ lRepetitions
    lScanRegionPosTra lScanTimeSec lTotalScanTimeSec sCoilSelectMeas.dOverallImageScaleFactor
    sProtConsistencyInfo.flGMax sProtConsistencyInfo.flNominalB0 sProtConsistencyInfo.flRiseTime
    sProtConsistencyInfo.lMaximumNofRxReceiverChannels sProtConsistencyInfo.ulConvFromVersion ucAAMode
    ucCineMode ucCoilCombineMode ucDisableChangeStoreImages ucEnableNoiseAdjust ucFlipAngleMode ucMotionCorr
    ucMultipleSeriesMode ucOneSeriesForAllMeas ucPHAPSMode ucReadOutMode ucReconstructionMode
    ucScanRegionPosValid ucSequenceType ucTablePositioningMode ulReaquisitionMode ulVersion ulWrapUpMagn
    """.split()
)
_STRINGS = {
    name: re.compile(form)
    for name, form in {
        b"asCoilSelectMeas[0].asList[0].sCoilElementID.tCoilID": _COIL_MODEL,
        b"sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.tCoilID": _COIL_MODEL,
        b"sCoilSelectMeas.sCoilStringForConversion": _COIL,
        b"sProtConsistencyInfo.tBaselineString": _BASELINE,
        b"sProtConsistencyInfo.tMeasuredBaselineString": _BASELINE,
        b"sRXSPEC.asNucleusInfo[0].tNucleus": _NUCLEUS,
        b"sTXSPEC.asNucleusInfo[0].tNucleus": _NUCLEUS,
        b"tSequenceFileName": rb"%SiemensSeq%\\[a-z][A-Za-z0-9_]{1,24}",
    }.items()
}
_VALUE = rb"(?:0x[0-9A-Fa-f]{1,8}(?![0-9A-Fa-f])|" + NUMBER + rb"(?:[ \t]+\#[ \t]*'[ -~]')?)"
_LINE = re.compile(
    rb"^(?!sCoilSelect(?:Meas\.(?!aRxCoilSelectData\[0\]\.asList\[0\])[aC]|UI))"
    rb"([A-Za-z]\w*+)((?:\.[A-Za-z_]\w*+|\[\d{1,4}\])*+)[ \t]*+=[ \t]*+"
    rb"(?:" + _VALUE + rb"|(\"{1,2})([^\"\r\n]*+)\3)[ \t]*+\r?$",
    re.MULTILINE,
)
"""A setting. Coil elements, half of the lines, of which only the first may stay, are passed over at once."""
_BLANK = bytes(code if code in b"\r\n\0" else 0x20 for code in range(256))


class _NoHeaderError(Exception):
    pass


def clean_csa(value: bytes, terms: Terms | None = None) -> bytes | None:
    """The header or protocol `value` with all but the positive list blanked; None where it cannot be read.

    A CSA header and a protocol keep their length. The same value gives the same result.

    Args:
        value: value of (0029,xx10) or (0029,xx20) of `SIEMENS CSA HEADER`, (0021,xx19) of `SIEMENS MR SDS 01`, or
            (0025,xx1B) of `GEMS_SERS_01`, or (0043,xx2A) of `GEMS_PARM_01`.
        terms: asked about everything that would stay; what it finds identifying is blanked as well.
    """
    try:
        if is_ge_protocol(value):
            return clean_ge_protocol(value, terms)
        if not value.startswith(MAGIC) and value.lstrip().startswith((b"<XProtocol>", _PROTOCOL_BEGIN)):
            return clean_protocol(value, terms)
        return _clean_header(value, terms)
    except (_NoHeaderError, struct.error):
        return clean_ge_user_data(value)


def clean_protocol(text: bytes, terms: Terms | None = None) -> bytes:
    """The text of a protocol: between the ASCCONV marks the lines of the positive list, else blanks of its length."""
    made = bytearray(text.translate(_BLANK))
    begin = text.find(_PROTOCOL_BEGIN)
    while begin >= 0:
        end = text.find(_PROTOCOL_END, begin)
        if end < 0:
            break
        line_end = text.find(b"\n", begin, end)
        first = line_end if line_end >= 0 else end
        mark = _BEGIN_LINE.match(text, begin, first)
        kept = mark[0] if mark else _PLAIN_BEGIN[: first - begin]
        made[begin : begin + len(kept)] = kept
        made[end : end + len(_PROTOCOL_END)] = _PROTOCOL_END
        _fill(
            made,
            [
                (match.start(), match[0], match[0].partition(b"=")[2])
                for match in _LINE.finditer(text, first, end)
                if _may_stay(match)
            ],
            terms,
        )
        begin = text.find(_PROTOCOL_BEGIN, end)
    return bytes(made)


def _fill(made: bytearray, kept: list[tuple[int, bytes, bytes]], terms: Terms | None) -> None:
    """Write what may stay, as place, bytes and the value in them. Equal values, of which many are, are asked once."""
    found: set[bytes] = set()
    if terms is not None:
        values = dict.fromkeys(value for _, _, value in kept)
        if terms("\n".join(value.decode("ascii").strip() for value in values)):
            found = {value for value in values if terms(value.decode("ascii").strip())}
    for start, some, value in kept:
        if value not in found:
            made[start : start + len(some)] = some


def _may_stay(line: re.Match[bytes]) -> bool:
    root, rest, quote, string = line.groups()
    if quote is None:
        return root in _STRUCTURES or root + rest in _SCALARS
    form = _STRINGS.get(root + rest)
    return form is not None and form.fullmatch(string) is not None


def _clean_header(value: bytes, terms: Terms | None) -> bytes:
    second = value.startswith(MAGIC)
    position = 8 if second else 0
    count, mark = struct.unpack_from("<II", value, position)
    if not 0 < count <= _MOST_ELEMENTS or mark not in _END_MARKS:
        raise _NoHeaderError
    made = bytearray(len(value))
    if second:
        made[:8] = MAGIC + b"\4\3\2\1"
    made[position : position + 8] = value[position : position + 8]
    position += 8
    kept: list[tuple[int, bytes, bytes]] = []
    first_items: int | None = None
    for _ in range(count):
        name, multiplicity, vr, syngo, items, end = _ELEMENT.unpack_from(value, position)
        name, vr = name.split(b"\0", 1)[0], vr.split(b"\0", 1)[0]
        if not _NAME.fullmatch(name) or not _VR.fullmatch(vr) or end not in _END_MARKS:
            raise _NoHeaderError
        _check_words(multiplicity, syngo, items)
        known = name in _NUMBERS or name in _CODES or name in _PROTOCOLS
        shown = name if known else b"Removed"
        _ELEMENT.pack_into(made, position, shown, multiplicity, vr, syngo, items, end)
        position += _ELEMENT.size
        first_items = items if first_items is None else first_items
        for _ in range(items):
            words = _ITEM.unpack_from(value, position)
            length = words[1] if second else words[0] - first_items
            _check_words(*words)
            _ITEM.pack_into(made, position, *words)
            position += _ITEM.size
            if length < 0 or position + length > len(value):
                raise _NoHeaderError
            text = value[position : position + length].split(b"\0", 1)[0] if known else b""
            if name in _PROTOCOLS:
                made[position : position + len(text)] = clean_protocol(text, terms)
            elif text and _has_form(name, text.strip()):
                kept.append((position, text, text))
            position += (length + 3) // 4 * 4
    _fill(made, kept, terms)
    return bytes(made)


def _has_form(name: bytes, text: bytes) -> bool:
    form = _NUMERIC if name in _NUMBERS else _CODES.get(name)
    return form is not None and form.fullmatch(text) is not None


def _check_words(*words: int) -> None:
    """Numbers of the layout are small: larger ones would be bytes of something else."""
    if min(words) < -1 or max(words) >= _MOST_WORD:
        raise _NoHeaderError
