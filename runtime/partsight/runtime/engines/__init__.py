"""What runs the network: one module for each library, one table of the providers that users choose from."""
