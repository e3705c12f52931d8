"""The durable state of every group behind one small protocol."""
