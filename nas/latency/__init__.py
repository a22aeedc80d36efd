"""Latency that is learned from examples, for devices and units that cannot be measured here.

`features` describes units by what can be counted on them, `learned` fits models of whole networks and of single units,
`tables` reads what users have measured themselves.
"""
