"""An embedded REDCap: a real HTTP server with a SQLite file behind it that speaks REDCap's API.

It is as strict as a hospital's REDCap, with its status codes and wording (redcap-contract), so that what works
here works there. Written from the contract, public clients and observed answers alone.

    server       sockets, `/api/` and the page at `/`       parameters   the form of a call
    dispatch     which call is answered by which function   replies      JSON, CSV and XML
    model        dictionary, events, repeating instruments  database     the file and its transactions
    values       the record store, one row a value          rights       users, tokens, export rights
    exporting, importing, removing, structure, events, journal, settings: the calls themselves
    logic, functions: filterLogic                           faults       switches for rehearsing failure
"""
