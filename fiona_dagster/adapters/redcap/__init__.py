"""REDCap over its API: a client that survives a slow or broken server, and the gateway's registry on top of it.

client      one project behind one token          registry    what the gateway reads and writes
answers     is this answer data, or what is it?   provision   makes projects       check  compares a live server
rate_limit  one allowance for all processes       repeating   instance numbers of repeating instruments
patience    who waits for long is told so
"""
