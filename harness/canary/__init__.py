"""The process that answers requests in canary with the candidate, apart from the gateway and its event loop."""
