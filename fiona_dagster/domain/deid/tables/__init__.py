"""Tables of facts, as data: dated where they follow an edition of the standard, so that two can be compared.

    ps3_15_annex_e_<edition>.csv   PS3.15 table E.1-1: the action of every attribute, made by `generate.py`
    iod_modules_<edition>.csv      the modules of an IOD that demand an attribute of which the table leaves a choice, and
    module_types_<edition>.csv     what they demand, by path; both made by `generate_iods.py`
    dictionary_<edition>.csv       PS3.6: tag, VR, keyword and name of every attribute, and
    registered_uids_<edition>.csv  value, type, keyword and name of every UID; both made by `generate_dictionary.py`
    unlisted.csv                   attributes that table E.1-1 does not list, and that may carry text or bytes:
                                   what is not named here is removed
    sop_classes.csv                object types with a tested handler; every other is held
    burned_in.csv                  attribute values that tell of text in the pixels
    identifying.csv                attributes whose original values are searched for in the copy
"""
