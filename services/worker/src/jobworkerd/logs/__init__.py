"""The log store: files with a job's output.

`writer`, `retention` and `store` write within bounds. `recovery` repairs a log whose writer died. `cursor`
and `seek` read. `format` defines the files.
The supervisor and the API process import this package. It imports no other part of the server except base
modules.
"""
