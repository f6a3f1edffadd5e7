"""An embedded REDCap: a real HTTP server with a SQLite file behind it that speaks REDCap's API.

It is as strict as a hospital's REDCap, with its status codes and wording (redcap-contract), so that what works
here works there. Written from the contract, public clients and observed answers alone.

    server       sockets, `/api/`, the page              parameters   the form of a call and its file
    dispatch     which call is answered by whom          reading      rows in JSON, CSV and XML
    model        dictionary, events, what repeats        replies      answers in JSON, CSV and XML
    values       the record store, a row a place       database     the file and its transactions
    rights       users, roles, tokens, export rights     journal      the log
    placing, validation: is a row where it belongs, and a value what its field takes
    exporting, importing, removing, structure, events, settings, creating, documents, repository, users, groups,
    reports, surveys, pdf: the calls themselves          filtering, logic, functions: filterLogic
    odm_reading, odm_variables, odm_writing: projects as CDISC ODM
    page, record_page, layout: what people see           data_entry   what people do, and its trigger
    faults       switches for rehearsing failure         hospital     the projects of a demo
"""
