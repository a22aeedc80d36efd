"""The sections of report.html, a file each: what was found goes in, HTML comes out, or nothing where there is nothing to say.

Those of one search take a `Place`; those of the whole run take the findings.
"""
