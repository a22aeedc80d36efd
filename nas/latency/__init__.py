"""Latency as a cost: profiles of devices, tables that users have measured, and models that learn from both.

`making` makes a profile of this device, `fitting` chooses the sum over units that fits it, `profiles` registers it for a search.
`features` describes units by what can be counted on them; `learned_networks` and `learned_units` fit models on them.
`learned_costs` and `unit_tables` read what users have measured on other devices; `filling` predicts the times of units that nobody measured.
"""
