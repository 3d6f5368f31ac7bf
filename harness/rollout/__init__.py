"""The gradual rollout: what the evidence calls for, and the history it leaves.

``evidence`` holds what a ruling looks at, ``ruling`` says what it calls for, ``history`` turns that and what people do
into events and events into the state. All three are pure: who collects the evidence and who acts is elsewhere.
"""
