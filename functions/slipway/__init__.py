"""What Slipway's functions share: decisions in modules of their own, calls to AWS in `slipway.aws`.

Where to look:

- `task`          what every handler does around its one sentence: log, and name AWS's errors
- `errors`        the errors a state machine can meet, and who reacts to which
- `schema`, `request`, `artifact`, `validation`     the input: shape, sense, artifact, all of it together
- `lock`, `records`   who may change an environment; what is remembered of it
- `tiers`, `stacks`, `gate`, `package`   a tier: its parameters, what to do by its stack's status, what is
    too dangerous
- `certificate`, `database`, `mysql`, `servers`, `commands`, `targets`, `verification`   one thing each
- `history`, `receipt`, `failure`, `announcement`   what is said of a release afterwards
- `drift`         a package: what an environment has become since it was released
- `tried`         a look that may be refused
- `patience`      how a check lingers for a few seconds
- `dns`           a look-up of one record, for explanations
"""
