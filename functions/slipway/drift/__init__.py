"""What an environment has become since it was released: found, compared with what was found before, and told.

- `finding`         what a finding is, its kinds and how bad each is
- `beginning`       whether an environment can be checked now
- `infrastructure`  the stacks: CloudFormation's own drift detection, templates and parameters
- `servers`         what every server reports, against the recorded release
                    (`comparisons`: one rule each)
- `standing`        what must hold whatever the templates say: `looks`, then `rules`; `openings`: what the
                    network lets through
- `overlap`         what two looks have both found is told once
- `noise`           what differs and does not count, with reasons
- `record`          what was seen before: since when, announced or not, gone
- `trail`           who did it, where CloudTrail can say
- `report`, `page`, `metrics`   what is told of a check
"""
