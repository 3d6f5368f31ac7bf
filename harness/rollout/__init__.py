"""The gradual rollout: what the evidence calls for, and the history it leaves.

``evidence`` holds what a ruling looks at. ``ruling`` asks the questions of ``protection``, ``validity`` and ``gates``
in order and says what they call for; ``history`` turns that, and what people do, into events, and events into the
state. All of them are pure: who collects the evidence and who acts is elsewhere.

``agent`` is the process beside a gateway that tells it who serves whom (``following``) and brings what its arms
answered into the store (``shipping``).
"""
