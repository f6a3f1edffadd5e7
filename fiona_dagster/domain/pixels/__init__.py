"""Text burned into pixels: where it may be, where it is, and what becomes of it."""
