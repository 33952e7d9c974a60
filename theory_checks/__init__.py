"""What papers promise, checked against measurement, and the batteries for your own classes."""
