"""One module per export dialect: a record becomes a Call, or a reason why not."""
