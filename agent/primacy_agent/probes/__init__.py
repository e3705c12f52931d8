"""How an agent looks at its instances and at other regions."""
