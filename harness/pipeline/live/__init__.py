"""The worker: feeds what the gateway spooled into the store, asks the candidates, judges and decides as it comes."""
