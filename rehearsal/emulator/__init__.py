"""The control plane of the rehearsal: MiniStack with what it lacks replaced by the real thing.

One module a service; each has ``install(region)``, called once before the first request is served.
`internals.py` alone says which names of the emulator are relied on.
"""
