"""ODM as REDCap itself writes it, which no XML parser reads as it was meant."""

from __future__ import annotations

import pytest

from fiona_dagster.embedded.redcap.odm_reading import read_odm
from fiona_dagster.embedded.redcap.problems import ApiError

DOCUMENT = """<?xml version="1.0" encoding="UTF-8" ?>
<ODM xmlns="http://www.cdisc.org/ns/odm/v1.3" xmlns:redcap="https://projectredcap.org">
<Study OID="Project.T"><GlobalVariables><StudyName>T</StudyName>
<redcap:MissingDataCodes>-9, unknown</redcap:MissingDataCodes>
<redcap:RepeatingInstrumentsAndEvents><redcap:RepeatingInstruments>
<redcap:RepeatingInstrument redcap:UniqueEventName="event_1_arm_1"
 redcap:RepeatInstrument="scans" redcap:CustomLabel=""/>
</redcap:RepeatingInstruments></redcap:RepeatingInstrumentsAndEvents>
</GlobalVariables>
<MetaDataVersion OID="M" Name="T" redcap:RecordIdField="record_id">
<FormDef OID="Form.one" Name="One" Repeating="No" redcap:FormName="one">
<ItemGroupRef ItemGroupOID="one.record_id" Mandatory="No"/><ItemGroupRef ItemGroupOID="one.box" Mandatory="No"/>
</FormDef>
<FormDef OID="Form.scans" Name="Scans" Repeating="No" redcap:FormName="scans">
<ItemGroupRef ItemGroupOID="scans.uid" Mandatory="No"/></FormDef>
<ItemGroupDef OID="one.record_id" Name="One" Repeating="No">
<ItemRef ItemOID="record_id" Mandatory="No" redcap:Variable="record_id"/>
<ItemRef ItemOID="one_timestamp" Mandatory="No" redcap:Variable="one_timestamp"/></ItemGroupDef>
<ItemGroupDef OID="one.box" Name="One" Repeating="No">
<ItemRef ItemOID="box___1" Mandatory="No" redcap:Variable="box"/>
<ItemRef ItemOID="box___2" Mandatory="No" redcap:Variable="box"/>
<ItemRef ItemOID="one_complete" Mandatory="No" redcap:Variable="one_complete"/></ItemGroupDef>
<ItemGroupDef OID="scans.uid" Name="Scans" Repeating="No">
<ItemRef ItemOID="uid" Mandatory="No" redcap:Variable="uid"/></ItemGroupDef>
<ItemDef OID="record_id" Name="record_id" DataType="text" redcap:Variable="record_id" redcap:FieldType="text"
 redcap:FieldNote="first
second"><Question><TranslatedText>Record
ID</TranslatedText></Question></ItemDef>
<ItemDef OID="one_timestamp" Name="one_timestamp" DataType="datetime" redcap:Variable="one_timestamp"/>
<ItemDef OID="box___1" Name="box___1" DataType="boolean" redcap:Variable="box" redcap:FieldType="checkbox">
<Question><TranslatedText>Box</TranslatedText></Question><CodeListRef CodeListOID="box___1.choices"/></ItemDef>
<ItemDef OID="one_complete" Name="one_complete" DataType="text" redcap:Variable="one_complete"
 redcap:FieldType="select"/>
<ItemDef OID="uid" Name="uid" DataType="integer" redcap:Variable="uid" redcap:FieldType="text"
 redcap:TextValidationType="int"/>
<CodeList OID="box___1.choices" Name="box___1" DataType="boolean" redcap:CheckboxChoices="1, One|2, Two"/>
</MetaDataVersion></Study>
<ClinicalData StudyOID="Project.T" MetaDataVersionOID="M">
<SubjectData SubjectKey="1" redcap:RecordIdField="record_id">
<FormData FormOID="Form.one" FormRepeatKey="1"><ItemGroupData ItemGroupOID="" ItemGroupRepeatKey="1">
<ItemData ItemOID="record_id" Value="1"/><ItemData ItemOID="note" Value="a
b	c"/></ItemGroupData></FormData>
<FormData FormOID="Form.scans" FormRepeatKey="2"><ItemGroupData ItemGroupOID="" ItemGroupRepeatKey="1">
<ItemData ItemOID="uid" Value="7"/>
<ItemDataBase64Binary ItemOID="paper" redcap:DocName="a.txt" redcap:MimeType="text/plain"><![CDATA[dGVz
dA==]]></ItemDataBase64Binary></ItemGroupData></FormData>
</SubjectData></ClinicalData></ODM>
"""


def test_raw_line_breaks_in_attributes_are_kept() -> None:
    project = read_odm(DOCUMENT)
    assert project.fields[0]["field_note"] == "first\nsecond"
    assert project.fields[0]["field_label"] == "Record\nID"
    assert project.rows[0]["note"] == "a\nb\tc"


def test_boxes_are_one_field_and_time_stamps_and_status_are_none() -> None:
    project = read_odm(DOCUMENT)
    assert [one["field_name"] for one in project.fields] == ["record_id", "box", "uid"]
    assert project.fields[1]["select_choices_or_calculations"] == "1, One | 2, Two"
    assert project.fields[2]["text_validation_type_or_show_slider_number"] == "integer"
    assert project.forms == {"one": "One", "scans": "Scans"}
    assert project.settings["missing_data_codes"] == "-9, unknown"


def test_repeated_forms_become_rows_and_files_keep_their_bytes() -> None:
    project = read_odm(DOCUMENT)
    assert project.rows[1] == {
        "record_id": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": "2", "uid": "7",
    }  # fmt: skip
    assert (project.files[0].upload.content, project.files[0].row) == (b"test", project.rows[1])
    assert not project.longitudinal


@pytest.mark.parametrize(
    "text",
    ["", "<a", DOCUMENT.replace("odm/v1.3", "odm/v1.4"), f"<!DOCTYPE a [<!ENTITY b 'c'>]>{DOCUMENT[40:]}"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="not formatted correctly"):
        read_odm(text)
