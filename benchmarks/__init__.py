"""What `python . bench NAME` runs: one module each, with `main(arguments) -> exit status`; it prints JSON."""
