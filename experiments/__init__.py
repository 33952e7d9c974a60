"""Studies, figures and the command `dopt`."""
