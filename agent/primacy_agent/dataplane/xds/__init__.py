"""The agent's xDS server, for Envoy and for gRPC clients that use `xds:///`. Imported only when it is switched on."""
